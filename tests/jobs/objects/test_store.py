from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from houndsight.jobs.objects import Condition, ObjectError, ObjectStore, split_uri
from houndsight.jobs.objects.database import Database


def read(store: ObjectStore, key: str, *stretch: int) -> bytes:
    with store.open("bucket", key, *stretch) as file:
        return file.read()


def files(store: ObjectStore) -> list[Path]:
    return [path for path in (store.folder / "blobs").rglob("*") if path.is_file()]


def code_of(call) -> str:
    with pytest.raises(ObjectError) as caught:
        call()
    return caught.value.code


def test_an_object_from_bytes_chunks_and_files(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    store.put("bucket", "bytes", b"from bytes", content_type="text/plain", metadata={"a": "b"})
    store.put("bucket", "chunks", iter([b"from ", b"chunks"]))
    with (tmp_path / "file").open("rb") as file:
        store.put("bucket", "open", file)
    store.put_file("bucket", "file", tmp_path / "file")
    found = {info.key: read(store, info.key) for info in store.iterate("bucket")}
    assert found == {
        "bytes": b"from bytes",
        "chunks": b"from chunks",
        "file": b"from a file",
        "open": b"from a file",
    }
    head = store.head("bucket", "bytes")
    assert (head.size, head.content_type, head.metadata) == (10, "text/plain", {"a": "b"})
    assert head.etag == hashlib.md5(b"from bytes").hexdigest()
    assert store.path("bucket", "file").read_bytes() == b"from a file"
    assert read(store, "bytes", 5, 3) == b"byt"
    with store.open("bucket", "bytes", 5) as stretch:
        assert (stretch.seek(-2, 2), stretch.read(), stretch.seek(1), stretch.read(2)) == (
            3,
            b"es",
            1,
            b"yt",
        )


def test_the_callers_file_stays(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    store.put_file("bucket", "k", path)
    path.write_bytes(b"after!")
    assert read(store, "k") == b"before"


def test_files_go_with_their_objects(store: ObjectStore) -> None:
    store.put("bucket", "a", b"1")
    store.put("bucket", "a", b"2")
    assert len(files(store)) == 1
    store.copy(store.head("bucket", "a"), "bucket", "b")
    assert len(files(store)) == 1  # copies share
    store.delete("bucket", "a")
    assert read(store, "b") == b"2"
    store.delete("bucket", "b")
    assert files(store) == []


def test_a_failed_write_leaves_nothing(store: ObjectStore) -> None:
    def torn():
        yield b"half"
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        store.put("bucket", "k", torn())
    once = Condition(if_none_match=True)
    store.put("bucket", "k", b"1", condition=once)
    assert code_of(lambda: store.put("bucket", "k", b"2", condition=once)) == "PreconditionFailed"
    assert read(store, "k") == b"1"
    assert len(files(store)) == 1


def test_errors_have_s3s_codes(store: ObjectStore) -> None:
    assert code_of(lambda: store.put("none", "k", b"")) == "NoSuchBucket"
    assert code_of(lambda: store.head("bucket", "k")) == "NoSuchKey"
    assert code_of(lambda: store.open("bucket", "k")) == "NoSuchKey"
    assert code_of(lambda: store.head("none", "k")) == "NoSuchBucket"
    assert code_of(lambda: store.list("none")) == "NoSuchBucket"
    assert code_of(lambda: store.create_bucket("bucket")) == "BucketAlreadyOwnedByYou"
    assert code_of(lambda: store.create_bucket("../x")) == "InvalidBucketName"
    assert code_of(lambda: store.put("bucket", "x" * 1025, b"")) == "KeyTooLongError"
    assert code_of(lambda: store.put("bucket", "\ud800", b"")) == "InvalidURI"
    assert code_of(lambda: store.copy(_stale(store), "bucket", "c")) == "OperationAborted"
    store.delete("bucket", "never there")


def _stale(store: ObjectStore):
    store.put("bucket", "k", b"1")
    info = store.head("bucket", "k")
    store.put("bucket", "k", b"2")
    return info


def test_a_reader_keeps_what_it_opened(store: ObjectStore) -> None:
    store.put("bucket", "k", b"old")
    with store.open("bucket", "k") as file:
        store.put("bucket", "k", b"new")
        assert file.read() == b"old"
    assert read(store, "k") == b"new"


def test_a_lost_file_is_named(store: ObjectStore) -> None:
    store.put("bucket", "k", b"1")
    store.path("bucket", "k").unlink()
    with pytest.raises(ObjectError, match="is gone from the store"):
        store.open("bucket", "k")


def test_bytes_are_on_the_disk_before_they_are_named(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of fsync and commit is what a power cut would try."""
    steps: list[str] = []
    real_sync, real_write = os.fsync, Database.write
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), real_sync(fd))[1])
    monkeypatch.setattr(
        Database, "write", lambda self, work: (steps.append("commit"), real_write(self, work))[1]
    )
    store.put("bucket", "k", b"1")
    assert steps == ["fsync", "commit"] or steps[-2:] == ["fsync", "commit"]
    with store.database.reading() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_threads_share_commits(store: ObjectStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.put("bucket", f"{n:03d}", b"%d" % n), range(100)))
    assert [info.key for info in store.iterate("bucket")] == [f"{n:03d}" for n in range(100)]
    assert read(store, "042") == b"42"


def test_one_bad_write_of_a_commit_hurts_no_other(store: ObjectStore) -> None:
    once = Condition(if_none_match=True)

    def put(number: int) -> bool:
        try:
            store.put("bucket", f"k{number % 10}", b"%d" % number, condition=once)
        except ObjectError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(put, range(50))) == 10
    assert len(files(store)) == 10


def test_several_processes_at_once(store: ObjectStore) -> None:
    script = (
        "import sys, pathlib\n"
        "from houndsight.jobs.objects import ObjectStore\n"
        "store = ObjectStore(pathlib.Path(sys.argv[1]))\n"
        "for n in range(30):\n"
        "    store.put('bucket', f'{sys.argv[2]}-{n:02d}', sys.argv[2].encode() * 1000)\n"
        "    store.put('bucket', 'same', sys.argv[2].encode() * 1000)\n"
        "store.close()\n"
    )
    command = [sys.executable, "-c", script, str(store.folder)]
    writers = [subprocess.Popen([*command, name]) for name in "abc"]
    while any(writer.poll() is None for writer in writers):
        store.sweep()
        for info in store.iterate("bucket"):
            assert read(store, info.key) in (b"a" * 1000, b"b" * 1000, b"c" * 1000)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(store.list("bucket").objects) == 91
    assert len(files(store)) == 91


def test_sweep_takes_only_leftovers(store: ObjectStore) -> None:
    store.put("bucket", "kept", b"1")
    leftover = store.blobs.create("bucket", b"k")
    leftover.write(b"half")
    assert store.sweep() == 0  # its writer lives
    os.close(leftover.descriptor)  # as death would
    leftover.descriptor = -1
    assert store.sweep() == 1
    assert [path.read_bytes() for path in files(store)] == [b"1"]


def test_a_forked_child_gets_connections_of_its_own(store: ObjectStore) -> None:
    store.put("bucket", "k", b"1")
    pid = os.fork()
    if pid == 0:
        try:
            store.put("bucket", "child", b"2")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert read(store, "child") == b"2"


def test_newer_and_foreign_indexes_are_refused(tmp_path: Path) -> None:
    ObjectStore(tmp_path / "newer").close()
    with sqlite3.connect(tmp_path / "newer" / "index.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ObjectError, match="update Houndsight"):
        ObjectStore(tmp_path / "newer")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "index.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(ObjectError, match="is not the index of an object store"):
        ObjectStore(tmp_path / "foreign")


def test_split_uri() -> None:
    assert split_uri("s3://bucket/a/b c") == ("bucket", "a/b c")
    assert split_uri("s3://bucket") == ("bucket", "")
    for wrong in ("", "s3:/bucket", "http://bucket/k", "s3:///key"):
        with pytest.raises(ObjectError, match="is not an S3 URI"):
            split_uri(wrong)
