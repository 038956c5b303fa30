"""A writer is killed (SIGKILL) at every step that changes the disk; what is listed reads whole."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from houndsight.jobs.objects import ObjectInfo, ObjectStore

WRITER = Path(__file__).with_name("writer.py")


def check(folder: Path) -> None:
    """Everything listed reads whole with its ETag; after a sweep there is no other file."""
    store = ObjectStore(folder)
    store.sweep()
    named = set()
    for info in store.iterate("bucket"):
        with store.open("bucket", info.key) as file:
            body = file.read()
        assert len(body) == info.size
        assert etag(info, body) == info.etag
        named.add(info.blob)
    with store.database.reading() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        named |= {row[0] for row in db.execute("SELECT blob FROM uploads")}
        named |= {row[0] for row in db.execute("SELECT blob FROM parts")}
    there = {path.name for path in (folder / "blobs").rglob("*") if path.is_file()}
    assert there <= named
    store.close()


def etag(info: ObjectInfo, body: bytes) -> str:
    sizes = info.properties.part_sizes
    if not sizes:
        return hashlib.md5(body).hexdigest()
    digests, at = b"", 0
    for size in sizes:
        digests += hashlib.md5(body[at : at + size]).digest()
        at += size
    return f"{hashlib.md5(digests).hexdigest()}-{len(sizes)}"


class Writers:
    """The process that forks writers."""

    def __init__(self) -> None:
        command = [sys.executable, str(WRITER)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def survives(self, folder: Path, step: int, seed: int) -> bool:
        """Whether a writer lives through all it has to write."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(folder, step, seed, file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        assert status in (0, signal.SIGKILL), "a writer failed; its trace is above"
        return status == 0

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


def new_store(folder: Path) -> Path:
    store = ObjectStore(folder)
    store.create_bucket("bucket")
    store.close()
    return folder


def test_killed_now_and_then(writers: Writers, tmp_path: Path) -> None:
    """On one store, so that each writer begins with what the killed ones left."""
    folder, chance = new_store(tmp_path / "objects"), random.Random(6)
    for seed in range(15):
        writers.survives(folder, chance.randrange(150), seed)
        check(folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_every_step(writers: Writers, tmp_path: Path, seed: int) -> None:
    step, survived = 0, False
    while not survived:
        folder = new_store(tmp_path / "objects")
        survived = writers.survives(folder, step, seed)
        check(folder)
        shutil.rmtree(folder)
        step += 1
    assert step > 100
