"""Writes into stores, and kills itself at one of the steps that change the disk.

Reads lines `FOLDER STEP SEED`; each is done by a forked child of its own, which is faster than an
interpreter's start, and answered with its wait status.

Steps are counted over everything that makes a write durable or visible: opening a new file,
writing to it, fsync, a commit's begin and end, unlink, truncate, copying in the kernel.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import traceback
from pathlib import Path

from houndsight.jobs.objects import Condition, GivenPart, ObjectStore, Properties, database

STEPS = ("open", "pwrite", "fsync", "unlink", "ftruncate", "copy_file_range")


WRITES = 25


def main() -> None:
    for line in sys.stdin:
        folder, step, seed = line.rsplit(maxsplit=2)
        pid = os.fork()
        if pid == 0:
            _child(Path(folder), int(step), int(seed))
        print(os.waitpid(pid, 0)[1], flush=True)


def _child(folder: Path, step: int, seed: int) -> None:
    try:
        store = ObjectStore(folder)
        store.uploads.minimum_part_bytes = 0
        _die_at(step)
        chance = random.Random(seed)
        for _ in range(WRITES):
            _write(store, chance)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _die_at(step: int) -> None:
    left = [step]

    def count() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in STEPS:
        setattr(os, name, _counted(getattr(os, name), count))
    database._commit = _counted(database._commit, count)


def _counted(real, count):
    def call(*values, **named):
        count()
        result = real(*values, **named)
        count()
        return result

    return call


def _write(store: ObjectStore, chance: random.Random) -> None:
    key = f"key/{chance.randrange(8)}"
    kind = chance.randrange(6)
    if kind < 3:
        store.put("bucket", key, chance.randbytes(chance.choice((0, 10, 5000))))
    elif kind == 3:
        store.delete("bucket", key)
    elif kind == 4:
        found = store.list("bucket").objects
        if found:
            store.copy(chance.choice(found), "bucket", key)
    else:
        _upload(store, key, chance)


def _upload(store: ObjectStore, key: str, chance: random.Random) -> None:
    upload = store.uploads.create("bucket", key, Properties())
    given = []
    for number, size in enumerate(chance.choice(((9, 9, 4), (4, 9), (9, 9, 9))), 1):
        body = chance.randbytes(size)
        upload = store.uploads.get("bucket", key, upload.id)
        with store.uploads.part_writer(upload, number, size) as writer:
            writer.write(body)
            part = store.uploads.commit_part(upload, number, writer)
        given.append(GivenPart(number, part.etag))
    parts = store.uploads.chosen(upload, given)
    store.uploads.complete(upload, parts, upload.properties, Condition())


if __name__ == "__main__":
    main()
