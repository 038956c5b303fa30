"""Checkpoints: brought to the host before the script starts, synced to S3 while it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from houndsight.errors import HoundsightError
from houndsight.jobs.container.channels.selection import Item
from houndsight.jobs.container.clone import clone_file
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.host import Host
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.objects import split_uri
from houndsight.jobs.spec import CheckpointSpec, TrainingSpec

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["CheckpointSync", "checkpoint_folder", "restore_checkpoints"]

SETTLED_SECONDS = 1.5
"""A file that was written to more recently may be half."""
DEFAULT_PATH = "/opt/ml/checkpoints"


def checkpoint_folder(checkpoint: CheckpointSpec, ml: Path) -> Path:
    """Where the script's checkpoints lie on disk.

    Raises:
        ContainerError: LocalPath is not below /opt/ml.
    """
    path = os.path.normpath(checkpoint.local_path or DEFAULT_PATH)
    if not path.startswith("/opt/ml/"):
        raise ContainerError(
            f"CheckpointConfig.LocalPath is {checkpoint.local_path!r}; Houndsight keeps checkpoints"
            f" below /opt/ml, such as {DEFAULT_PATH}."
        )
    return ml / path.removeprefix("/opt/ml/")


def restore_checkpoints(hosts: Sequence[Host], objects: ObjectStore) -> None:
    """Bring what stands at the checkpoints' S3 URI; nothing there is no fault.

    Raises:
        ContainerError: the URI or a key cannot be used.
    """
    checkpoint = hosts[0].spec.checkpoint
    if checkpoint is None:
        return
    bucket, prefix = _place(checkpoint)
    try:
        found = [info for info in objects.iterate(bucket, prefix) if not info.key.endswith("/")]
    except HoundsightError:
        found = []
    for host in hosts:
        folder = checkpoint_folder(checkpoint, host.folder.ml)
        folder.mkdir(parents=True, exist_ok=True)
        for info in found:
            path = info.key[len(prefix) :]
            item = Item(bucket, info.key, path, info.size, info.etag)
            _restore(item, folder, objects)


class CheckpointSync:
    """Uploads checkpoints that have changed; made by the supervisor, asked every few seconds."""

    def __init__(self, spec: TrainingSpec, folder: JobFolder, objects: ObjectStore) -> None:
        self.spec, self.folder, self.objects = spec, folder, objects
        self._seen: dict[Path, tuple[int, int]] = {}

    def sync(self, *, final: bool = False) -> int:
        """Upload what has changed and is settled, at the end all of it; returns how many files.

        Raises:
            ObjectError: the store does not take it.
        """
        checkpoint = self.spec.checkpoint
        if checkpoint is None:
            return 0
        bucket, prefix = _place(checkpoint)
        count = 0
        for name in self.spec.hosts:
            root = checkpoint_folder(checkpoint, self.folder.host(name).ml)
            for path, state in _files(root):
                if self._seen.get(path) == state or not (final or _is_settled(state)):
                    continue
                key = prefix + str(path.relative_to(root))
                if self._is_there(bucket, key, path, state):
                    continue
                self.objects.put_file(bucket, key, path)
                count += 1
                if _state(path) == state:
                    self._seen[path] = state
        return count

    def _is_there(self, bucket: str, key: str, path: Path, state: tuple[int, int]) -> bool:
        """Whether a file that this supervisor sees first is what the store has."""
        if path in self._seen:
            return False
        try:
            info = self.objects.head(bucket, key)
        except HoundsightError:
            return False
        if info.size != state[0] or info.modified * 1e9 < state[1]:
            return False
        self._seen[path] = state
        return True


def _place(checkpoint: CheckpointSpec) -> tuple[str, str]:
    try:
        bucket, prefix = split_uri(checkpoint.s3_uri)
    except HoundsightError as error:
        raise ContainerError(f"CheckpointConfig.S3Uri: {error}") from error
    return bucket, prefix.rstrip("/") + "/" if prefix.strip("/") else ""


def _restore(item: Item, folder: Path, objects: ObjectStore) -> None:
    parts = item.path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ContainerError(f"The checkpoint s3://{item.bucket}/{item.key} cannot be a file.")
    target = folder / item.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.part")
        clone_file(objects.path(item.bucket, item.key), aside)
        aside.replace(target)
    except OSError as error:
        raise ContainerError(
            f"The checkpoint s3://{item.bucket}/{item.key} cannot be restored: {error.strerror}."
        ) from error


def _files(root: Path) -> list[tuple[Path, tuple[int, int]]]:
    found = []
    for folder, _folders, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            state = _state(path)
            if state is not None:
                found.append((path, state))
    return found


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of an ordinary file."""
    try:
        stat = path.lstat()
    except OSError:
        return None
    return (stat.st_size, stat.st_mtime_ns) if path.is_file() and not path.is_symlink() else None


def _is_settled(state: tuple[int, int]) -> bool:
    return time.time() - state[1] / 1e9 > SETTLED_SECONDS
