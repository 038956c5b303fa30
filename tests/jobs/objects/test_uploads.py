from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.jobs.objects import (
    Condition,
    GivenPart,
    ObjectError,
    ObjectInfo,
    ObjectStore,
    Properties,
    UploadInfo,
)


def begin(store: ObjectStore, key: str = "k") -> UploadInfo:
    store.uploads.minimum_part_bytes = 1
    return store.uploads.create("bucket", key, Properties(content_type="image/jpeg"))


def send(store: ObjectStore, upload: UploadInfo, number: int, body: bytes) -> str:
    upload = store.uploads.get(upload.bucket, upload.key, upload.id)
    with store.uploads.part_writer(upload, number, len(body)) as writer:
        writer.write(body)
        return store.uploads.commit_part(upload, number, writer).etag


def complete(store: ObjectStore, upload: UploadInfo, tags: dict[int, str]) -> ObjectInfo:
    given_parts = [GivenPart(number, tags[number]) for number in sorted(tags)]
    parts = store.uploads.chosen(upload, given_parts)
    return store.uploads.complete(upload, parts, upload.properties, Condition())


def read(store: ObjectStore, key: str, *stretch: int) -> bytes:
    with store.open("bucket", key, *stretch) as file:
        return file.read()


def files(store: ObjectStore) -> list[Path]:
    return [path for path in (store.folder / "blobs").rglob("*") if path.is_file()]


def test_equal_parts_are_never_copied(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def copies(*_: object) -> int:
        raise AssertionError("copied")

    monkeypatch.setattr(os, "copy_file_range", copies)
    upload = begin(store)
    bodies = {1: b"a" * 10, 3: b"c" * 4, 2: b"b" * 10}
    tags = {number: send(store, upload, number, body) for number, body in bodies.items()}
    info = complete(store, upload, tags)
    assert read(store, "k") == b"a" * 10 + b"b" * 10 + b"c" * 4
    joined = b"".join(hashlib.md5(bodies[n]).digest() for n in (1, 2, 3))
    assert info.etag == f"{hashlib.md5(joined).hexdigest()}-3"
    assert info.properties.part_sizes == (10, 10, 4)
    assert info.content_type == "image/jpeg"
    assert len(files(store)) == 1


def test_parts_left_out_do_not_shorten_a_later_attempt(store: ObjectStore) -> None:
    """Completing with some of the parts fails its condition; then all are asked for."""
    upload = begin(store)
    tags = {n: send(store, upload, n, b"%d" % n * 5) for n in (1, 2, 3)}
    store.put("bucket", "k", b"in the way")
    parts = store.uploads.chosen(upload, [GivenPart(1, tags[1])])
    with pytest.raises(ObjectError, match="pre-conditions"):
        store.uploads.complete(upload, parts, upload.properties, Condition(if_none_match=True))
    complete(store, upload, tags)
    assert read(store, "k") == b"111112222233333"
    assert len(files(store)) == 1


def test_a_part_sent_twice_at_once(store: ObjectStore) -> None:
    upload = begin(store)
    send(store, upload, 2, b"22222")
    upload = store.uploads.get("bucket", "k", upload.id)
    with (
        store.uploads.part_writer(upload, 1, 5) as first,
        store.uploads.part_writer(upload, 1, 5) as second,
    ):
        assert first.path != second.path
        first.write(b"aa")
        second.write(b"bbbbb")
        first.write(b"aaa")
        store.uploads.commit_part(upload, 1, first)
        tag = store.uploads.commit_part(upload, 1, second).etag
    stored, _ = store.uploads.parts(upload)
    complete(store, upload, {1: tag, 2: stored[1].etag})
    assert read(store, "k") == b"bbbbb22222"
    assert len(files(store)) == 1


def test_a_late_part_cannot_change_a_finished_object(store: ObjectStore) -> None:
    upload = begin(store)
    tags = {n: send(store, upload, n, b"%d" % n * 5) for n in (1, 2)}
    stale = store.uploads.get("bucket", "k", upload.id)
    with store.uploads.part_writer(stale, 3, 5) as late:
        complete(store, upload, tags)
        late.write(b"33333")
        with pytest.raises(ObjectError, match="may have been aborted or completed"):
            store.uploads.commit_part(stale, 3, late)
    with pytest.raises(ObjectError, match="may have been aborted or completed"):
        store.uploads.part_writer(stale, 1, 5)
    assert read(store, "k") == b"1111122222"


def test_abort_leaves_nothing(store: ObjectStore) -> None:
    upload = begin(store)
    send(store, upload, 1, b"12345")
    send(store, upload, 2, b"longer than the first")
    store.uploads.abort(upload)
    assert files(store) == []
    begin(store)
    store.delete_bucket("bucket")
    assert store.sweep() == 0


def test_many_parts_at_once(store: ObjectStore) -> None:
    upload = begin(store)
    bodies = {n: bytes([n]) * 1000 for n in range(1, 41)}
    with ThreadPoolExecutor(8) as pool:
        tags = dict(pool.map(lambda n: (n, send(store, upload, n, bodies[n])), bodies))
    complete(store, upload, tags)
    assert read(store, "k") == b"".join(bodies.values())


def test_a_part_that_comes_too_late_holds_no_file_open(store: ObjectStore) -> None:
    upload = begin(store)
    send(store, upload, 1, b"a" * 10)
    known = store.uploads.get("bucket", "k", upload.id)
    store.uploads.abort(known)
    for _ in range(3):  # it was found just before it was aborted
        with pytest.raises(ObjectError, match="upload does not exist"):
            store.uploads.part_writer(known, 2, 10)
    name = store.blobs.path(known.blob).name
    opened = [entry.resolve().name for entry in Path("/proc/self/fd").iterdir()]
    assert not [file for file in opened if file.startswith(name)]


def test_a_part_longer_than_announced_does_not_reach_into_the_next(store: ObjectStore) -> None:
    upload = begin(store)
    tags = {2: send(store, upload, 2, b"b" * 10)}
    known = store.uploads.get("bucket", "k", upload.id)
    writer = store.uploads.part_writer(known, 1, 10)
    with writer, pytest.raises(ObjectError, match="longer than"):
        writer.write(b"x" * 15)
    tags[1] = send(store, upload, 1, b"a" * 10)
    complete(store, upload, tags)
    assert read(store, "k") == b"a" * 10 + b"b" * 10


@settings(max_examples=25)
@given(
    sent=st.lists(
        st.tuples(st.integers(1, 6), st.binary(min_size=0, max_size=12)), min_size=1, max_size=9
    ),
    chosen=st.sets(st.integers(1, 6), min_size=1),
)
def test_any_order_any_sizes(sent: list[tuple[int, bytes]], chosen: set[int]) -> None:
    """Whatever is sent, again and again: the object is the last of each chosen part."""
    with tempfile.TemporaryDirectory() as folder:
        store = ObjectStore(Path(folder))
        store.create_bucket("bucket")
        upload = begin(store)
        last, tags = {}, {}
        for number, body in sent:
            tags[number], last[number] = send(store, upload, number, body), body
        wanted = sorted(chosen & set(last)) or sorted(last)
        store.uploads.minimum_part_bytes = 0
        complete(store, upload, {number: tags[number] for number in wanted})
        assert read(store, "k") == b"".join(last[n] for n in wanted)
        assert len(files(store)) == 1
        assert store.sweep() == 0
        store.close()
