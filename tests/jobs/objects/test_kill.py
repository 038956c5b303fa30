"""A writer is killed (SIGKILL) at every step that changes the disk; what is listed reads whole."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
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


def run(folder: Path, step: int, seed: int) -> bool:
    """Whether the writer lived through all it had to write."""
    command = [sys.executable, str(WRITER), str(folder), str(step), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == 0


def test_killed_now_and_then(tmp_path: Path) -> None:
    """On one store, so that each writer begins with what the killed ones left."""
    store = ObjectStore(tmp_path / "objects")
    store.create_bucket("bucket")
    store.close()
    chance = random.Random(6)
    for seed in range(15):
        run(tmp_path / "objects", chance.randrange(200), seed)
        check(tmp_path / "objects")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_every_step(tmp_path: Path, seed: int) -> None:
    step, survived = 0, False
    while not survived:
        folder = tmp_path / f"objects-{step}"
        store = ObjectStore(folder)
        store.create_bucket("bucket")
        store.close()
        survived = run(folder, step, seed)
        check(folder)
        step += 1
    assert step > 200
