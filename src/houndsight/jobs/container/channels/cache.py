"""Channels on disk: each set of objects is there once, however many jobs read it.

An entry is a folder named by the digest of bucket, key, path and ETag of every object. It is made
aside and renamed, so that a killed process leaves no half entry. `users/` names the jobs that see
it; an entry that a running job sees is never evicted. The files share their blocks with the S3
store where the file system can (reflink, else a hard link): nothing here is ever written to.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from houndsight.data.cache_lock import locked
from houndsight.errors import HoundsightError, RunError
from houndsight.files import write_atomic
from houndsight.jobs.container.channels.selection import Item
from houndsight.jobs.container.clone import link_or_clone, remove_tree
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.status import JobStatus

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["LIMIT_BYTES", "ChannelCache"]

LIMIT_BYTES = 50_000_000_000
FORMAT = 1
MAX_USERS = 64
"""More than these are looked through for jobs that have ended."""
UNREADABLE_SECONDS = 86_400
"""How long a job counts as running whose status cannot be read."""


class ChannelCache:
    """Sets of objects as folders, the least recently used of which go when there are too many."""

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.made = 0
        """Entries that this process has made, not found."""

    def materialise(self, items: Sequence[Item], objects: ObjectStore, job: JobFolder) -> Path:
        """The folder that holds `items` under their paths, in use by `job` until that has ended.

        Raises:
            ContainerError: an object vanished or changed meanwhile, or the disk is full.
        """
        entry = self.folder / _digest(items)
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(entry):
            if not (entry / "entry.json").exists():
                self._make(entry, items, objects)
            _note_user(entry, job)
            os.utime(entry)
        self.prune()
        return entry / "files"

    def prune(self) -> list[Path]:
        """Remove entries, the longest unused first, until the rest is within the limit."""
        entries = sorted(self._entries(), key=lambda entry: entry.stat().st_mtime)
        sizes = {entry: _size(entry) for entry in entries}
        total, removed = sum(sizes.values()), []
        for entry in entries:
            if total <= self.limit_bytes:
                break
            with locked(entry):
                if _in_use(entry):
                    continue
                remove_tree(entry)
            total -= sizes[entry]
            removed.append(entry)
        return removed

    def _entries(self) -> list[Path]:
        found = self.folder.iterdir() if self.folder.is_dir() else iter(())
        return [path for path in found if (path / "entry.json").exists()]

    def _make(self, entry: Path, items: Sequence[Item], objects: ObjectStore) -> None:
        aside = entry.with_name(entry.name + ".part")
        remove_tree(aside)
        try:
            self._fill(aside / "files", items, objects)
            about = {"v": FORMAT, "bytes": sum(i.size for i in items), "files": len(items)}
            write_atomic(aside / "entry.json", json.dumps(about).encode())
            remove_tree(entry)
            aside.rename(entry)
        except OSError as error:
            remove_tree(aside)
            raise ContainerError(
                f"ClientError: Data download failed: {self.folder} cannot take"
                f" {sum(i.size for i in items):,} bytes: {error.strerror or error}."
            ) from error
        except BaseException:
            remove_tree(aside)
            raise
        self.made += 1

    def _fill(self, folder: Path, items: Sequence[Item], objects: ObjectStore) -> None:
        folder.mkdir(parents=True)
        parents: set[Path] = set()
        for item in items:
            target = folder / item.path
            if target.parent not in parents:
                target.parent.mkdir(parents=True, exist_ok=True)
                parents.add(target.parent)
            if not _bring(item, objects, target):
                raise ContainerError(
                    f"s3://{item.bucket}/{item.key} changed while the job was being prepared:"
                    " start the job again."
                )


def _bring(item: Item, objects: ObjectStore, target: Path) -> bool:
    """Whether the object was still there, as it was when it was listed."""
    try:
        link_or_clone(objects.path(item.bucket, item.key), target)
    except (FileNotFoundError, HoundsightError):
        return False
    return target.stat().st_size == item.size


def _digest(items: Sequence[Item]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for item in items:
        row = (item.bucket, item.key, item.path, item.etag, str(item.size))
        digest.update("\0".join(row).encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def _size(entry: Path) -> int:
    try:
        return int(json.loads((entry / "entry.json").read_bytes())["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _note_user(entry: Path, job: JobFolder) -> None:
    users = entry / "users"
    users.mkdir(exist_ok=True)
    if sum(1 for _ in users.iterdir()) > MAX_USERS:
        _in_use(entry)
    name = hashlib.blake2b(str(job.path).encode(), digest_size=8).hexdigest()
    write_atomic(users / name, str(job.path).encode())


def _in_use(entry: Path) -> bool:
    """Whether a job that has not ended sees the entry; forgets those that have."""
    found = False
    for user in (entry / "users").glob("[!.]*"):
        job = JobFolder(Path(user.read_text()))
        try:
            running = job.path.exists() and not JobStatus.read(job.status).state.ended
        except RunError:
            running = time.time() - user.stat().st_mtime < UNREADABLE_SECONDS
        if not running:
            user.unlink(missing_ok=True)
        found |= running
    return found
