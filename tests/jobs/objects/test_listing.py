"""Listings against a model that has every key in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.jobs.objects import Listing, ObjectStore

LETTERS = st.text("ab/\u00e9\U0001f415\x00\x7f-", min_size=1, max_size=6)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def entries(keys: set[str], prefix: str, delimiter: str) -> list[tuple[bytes, str, bool]]:
    """Every entry of a whole listing in order: (sort key, text, whether it is a group)."""
    found = set()
    for key in keys:
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        text = key if at < 0 else key[: at + len(delimiter)]
        found.add((text.encode(), text, at >= 0))
    return sorted(found)


def expected(
    keys: set[str], prefix: str, delimiter: str, after: str, limit: int
) -> tuple[list[str], list[str], str | None]:
    behind = [e for e in entries(keys, prefix, delimiter) if not after or e[0] > after.encode()]
    page = behind[:limit]
    last = page[-1][1] if len(behind) > limit else None
    return [e[1] for e in page if not e[2]], [e[1] for e in page if e[2]], last


def shown(found: Listing) -> tuple[list[str], list[str], str | None]:
    return [info.key for info in found.objects], list(found.prefixes), found.next


@settings(max_examples=40)
@given(
    keys=st.sets(LETTERS | ANYTHING, max_size=25),
    questions=st.lists(
        st.tuples(
            st.just("") | LETTERS,
            st.sampled_from(["", "/", "a", "b/", "\u00e9"]),
            st.just("") | LETTERS,
            st.integers(1, 8),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_pages_are_those_of_the_model(
    keys: set[str], questions: list[tuple[str, str, str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = ObjectStore(Path(folder))
        store.create_bucket("bucket")
        store.create_bucket("buckes")  # a neighbour must never show
        store.put("buckes", "a", b"")
        _fill(store, keys)
        for prefix, delimiter, after, limit in questions:
            found = store.list("bucket", prefix, delimiter=delimiter, after=after, limit=limit)
            assert shown(found) == expected(keys, prefix, delimiter, after, limit)
            assert walk(store, prefix, delimiter, limit) == [
                e[1] for e in entries(keys, prefix, delimiter)
            ]
        store.close()


def walk(store: ObjectStore, prefix: str, delimiter: str, limit: int) -> list[str]:
    """All entries, page by page, as clients go."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = store.list("bucket", prefix, delimiter=delimiter, after=after, limit=limit)
        found += sorted(
            [*(info.key for info in page.objects), *page.prefixes], key=lambda k: k.encode()
        )
        after = page.next
    return found


def _fill(store: ObjectStore, keys: set[str]) -> None:
    """Rows without files: a listing looks at rows alone."""

    def insert(db) -> None:
        db.executemany(
            "INSERT INTO objects VALUES ('bucket', ?, '', 0, '', 0, '')",
            [(key.encode(),) for key in keys],
        )

    store.database.write(insert)


def test_a_group_is_stepped_over(tmp_path: Path) -> None:
    """However much it holds: the number of rows read is bounded."""
    store = ObjectStore(tmp_path)
    store.create_bucket("bucket")
    _fill(store, {f"big/{n}" for n in range(5000)} | {"a", "z"})
    with store.database.reading() as db:
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        page = store.list("bucket", delimiter="/", limit=10)
        db.set_trace_callback(None)
    assert shown(page) == (["a", "z"], ["big/"], None)
    assert len(statements) <= 6
    store.close()
