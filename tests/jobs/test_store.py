"""Records survive, change as they may, and are listed page by page."""

from __future__ import annotations

import base64
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from houndsight.errors import HoundsightError, SettingError
from houndsight.jobs.paging import Query, read_token
from houndsight.jobs.states import ExistsError, JobsError, Kind, NotFoundError, StateError
from houndsight.jobs.store import JobStore, Record

JOB = Kind.TRAINING_JOB


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "sqlite":
        return tmp_path / "jobs.sqlite"
    return str(request.getfixturevalue("postgresql_database"))


@pytest.fixture
def store(database: Path | str) -> Iterator[JobStore]:
    store = JobStore(database)
    yield store
    store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "jobs.sqlite")
    yield store
    store.close()


def record(name: str, **changes: object) -> Record:
    values = {"kind": JOB, "arn": f"arn:{name}", "status": "InProgress", **changes}
    return Record(name=name, **values)  # type: ignore[arg-type]


def names(store: JobStore, limit: int = 100, **filters: object) -> list[str]:
    found: list[str] = []
    token = None
    while True:
        page = store.list(JOB, limit=limit, token=token, **filters)  # type: ignore[arg-type]
        found += [r.name for r in page.records]
        token = page.next_token
        if token is None:
            return found


def test_what_was_added_is_found_by_another_process_too(
    database: Path | str, store: JobStore
) -> None:
    added = store.add(
        record("a", request={"n": 1}, detail={"x": [2]}, parent="tuner", handle={"pid": 3})
    )
    other = JobStore(database)
    assert other.get(JOB, "a") == added
    other.close()


def test_the_file_is_for_its_owner_alone(tmp_path: Path, sqlite_store: JobStore) -> None:
    assert stat.S_IMODE((tmp_path / "jobs.sqlite").stat().st_mode) == 0o600


def test_names_are_unique_within_a_kind(store: JobStore) -> None:
    store.add(record("a"))
    store.add(record("a", kind=Kind.MODEL, status=""))
    with pytest.raises(ExistsError, match="training job a already"):
        store.add(record("a"))
    with pytest.raises(NotFoundError, match="no endpoint a"):
        store.get(Kind.ENDPOINT, "a")


def test_a_status_changes_as_it_may(store: JobStore) -> None:
    store.add(record("a"))
    with pytest.raises(StateError, match="not Stopping"):
        store.update(JOB, "a", status="Stopped", expected="Stopping")
    assert store.update(JOB, "a", status="Completed", detail={"x": 1}).detail == {"x": 1}
    with pytest.raises(StateError, match="is Completed; it cannot become InProgress"):
        store.update(JOB, "a", status="InProgress")
    with pytest.raises(StateError, match="no status 'Done'"):
        store.update(JOB, "a", status="Done")


def test_every_change_is_later_than_the_one_before(store: JobStore) -> None:
    times = [store.add(record("a", created=time.time() + 60)).modified]
    times += [store.update(JOB, "a", detail={"n": n}).modified for n in range(20)]
    assert times == sorted(set(times))


@pytest.mark.parametrize("sort_by", ["CreationTime", "Name", "Status", "LastModifiedTime"])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_hold_every_record_once_while_others_come_and_go(
    store: JobStore, sort_by: str, descending: bool
) -> None:
    for number in range(40):
        status = ("InProgress", "Failed", "Completed")[number % 3]
        # Equal times: the name decides.
        store.add(record(f"job-{number:02d}", created=float(number // 7), status=status))
    seen, token = [], None
    while True:
        page = store.list(JOB, sort_by=sort_by, descending=descending, limit=7, token=token)
        seen += [r.name for r in page.records]
        token = page.next_token
        if token is None:
            break
        store.delete(JOB, seen[-1])
    assert sorted(seen) == [f"job-{number:02d}" for number in range(40)]


def test_listings_are_filtered(store: JobStore) -> None:
    for number, name in enumerate(("alpha", "beta", "Gamma_1", "Gammax1")):
        store.add(record(name, created=float(number), parent="tuner" if number % 2 else ""))
    store.update(JOB, "alpha", status="Failed")
    assert names(store, name_contains="GAMMA_") == ["Gamma_1"]
    assert names(store, status="Failed") == ["alpha"]
    assert names(store, status=("Failed", "InProgress"), limit=3) == names(store)
    assert names(store, parent="tuner") == ["beta", "Gammax1"]
    assert names(store, created_after=0.5, created_before=2.5) == ["beta", "Gamma_1"]
    assert names(store, modified_after=100.0) == ["alpha"]
    assert store.count(JOB) == {"Failed": 1, "InProgress": 3}


def test_a_page_of_ten_thousand_reads_only_itself(tmp_path: Path, sqlite_store: JobStore) -> None:
    rows = [
        (JOB.value, f"job-{n:05d}", "arn", "Completed", float(n // 10), 0.0, "", "{}", "{}")
        for n in range(10_000)
    ]
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        columns = "kind, name, arn, status, created, modified, parent, request, detail"
        database.executemany(f"INSERT INTO records ({columns}) VALUES (?,?,?,?,?,?,?,?,?)", rows)
    database.close()
    assert names(sqlite_store, limit=1000, descending=True) == [row[1] for row in reversed(rows)]
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        plan = database.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM records WHERE kind='training-job' AND"
            " (created, name) > (500.0, 'x') ORDER BY created, name LIMIT 100"
        ).fetchall()
    database.close()
    assert "USING INDEX records_by_creation" in plan[0][3]
    assert len(plan) == 1  # no sorting


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@given(st.text())
@example(token_of("[" * 6_000))
@example(token_of('["CreationTime", false, [1.0, "\\ud800"]]'))
def test_a_wrong_token_is_said_to_be_one(token: str) -> None:
    with pytest.raises(JobsError, match="list from the start"):
        read_token(Query("CreationTime", False), token)


def test_a_token_belongs_to_its_order(store: JobStore) -> None:
    for name in "ab":
        store.add(record(name))
    token = store.list(JOB, limit=1).next_token
    with pytest.raises(JobsError, match="another order"):
        store.list(JOB, limit=1, descending=True, token=token)
    with pytest.raises(JobsError, match="Cannot sort by 'Size'"):
        store.list(JOB, sort_by="Size")


def test_tags_are_added_replaced_and_removed(store: JobStore) -> None:
    store.add_tags("arn:a", {"z": "1", "a": "2"})
    store.add_tags("arn:a", {"z": "3"})
    assert store.tags("arn:a") == {"a": "2", "z": "3"}
    store.delete_tags("arn:a", ["a", "not there"])
    assert store.tags("arn:a") == {"z": "3"}
    assert store.tags("arn:b") == {}
    store.add(record("a"))
    store.delete(JOB, "a")
    assert store.tags("arn:a") == {}


def test_a_waiter_hears_of_a_change_at_once(store: JobStore) -> None:
    before = store.add(record("a"))
    threading.Timer(0.1, store.update, (JOB, "a"), {"status": "Failed"}).start()
    begun = time.monotonic()
    assert store.wait_changed(JOB, "a", before.modified, 60.0).status == "Failed"
    assert time.monotonic() - begun < 30
    unchanged = store.get(JOB, "a")
    assert store.wait_changed(JOB, "a", unchanged.modified, 0.05) == unchanged


def test_many_threads_update_without_losing_any(store: JobStore) -> None:
    for number in range(4):
        store.add(record(f"job-{number}"))

    def work(name: str) -> None:
        for count in range(10):
            store.update(JOB, name, detail={"count": count})

    threads = [threading.Thread(target=work, args=(f"job-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(store.get(JOB, f"job-{n}").detail == {"count": 9} for n in range(4))


def test_a_newer_database_is_refused(tmp_path: Path, sqlite_store: JobStore) -> None:
    sqlite_store.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        database.execute("UPDATE houndsight_schema SET version = 99")
    database.close()
    with pytest.raises(JobsError, match="format 99, newer"):
        JobStore(tmp_path / "jobs.sqlite")


def test_a_connection_in_use_is_closed_after_the_store(sqlite_store: JobStore) -> None:
    with sqlite_store._engine.connect() as used:
        raw = used.connection.dbapi_connection
        assert raw is not None
        sqlite_store.close()
        used.exec_driver_sql("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        raw.execute("SELECT 1")  # type: ignore[attr-defined]
    sqlite_store.add(record("later"))
    assert names(sqlite_store) == ["later"]


def test_another_database_is_named_by_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUNDSIGHT_PLATFORM_DATABASE", f"sqlite:///{tmp_path}/other.sqlite")
    store = JobStore.open(tmp_path / "jobs.sqlite")
    store.add(record("a"))
    store.close()
    assert (tmp_path / "other.sqlite").exists()
    assert not (tmp_path / "jobs.sqlite").exists()
    monkeypatch.setenv("HOUNDSIGHT_PLATFORM_DATABASE", "nonsense://x")
    with pytest.raises(SettingError, match="HOUNDSIGHT_PLATFORM_DATABASE"):
        JobStore.open(tmp_path / "jobs.sqlite")
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 100)
    monkeypatch.delenv("HOUNDSIGHT_PLATFORM_DATABASE")
    with pytest.raises(HoundsightError, match="cannot be opened"):
        JobStore.open(tmp_path / "broken.sqlite")
