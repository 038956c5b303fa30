"""Copies of files and folders that cost no space where the file system can share blocks."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

__all__ = ["clone_file", "clone_tree", "link_or_clone", "remove_tree"]

_FICLONE = 0x40049409
"""Linux: let a file share another's blocks until one of them is written (`ioctl_ficlone(2)`)."""


def clone_file(source: Path, target: Path) -> None:
    """A copy that shares blocks where it can; writing into one never changes the other."""
    with source.open("rb") as reading, target.open("wb") as writing:
        try:
            fcntl.ioctl(writing, _FICLONE, reading.fileno())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            shutil.copyfileobj(reading, writing, 1 << 20)


def link_or_clone(source: Path, target: Path) -> None:
    """The same bytes under another name, for those who only read: clone, hard link, or copy."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        clone_file(source, target)


def clone_tree(source: Path, target: Path) -> None:
    """Every file and folder below `source`, cloned into `target`, which may exist."""
    target.mkdir(parents=True, exist_ok=True)
    for folder, folders, files in os.walk(source):
        below = target / Path(folder).relative_to(source)
        for name in folders:
            (below / name).mkdir(exist_ok=True)
        for name in files:
            clone_file(Path(folder, name), below / name)


def remove_tree(folder: Path) -> None:
    """Remove a folder, also one whose owner made it unreadable; nothing if it is not there."""

    def again(_function: object, path: str, _error: object) -> None:
        Path(path).parent.chmod(0o700)
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            Path(path).chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            Path(path).unlink(missing_ok=True)

    if folder.is_dir():
        shutil.rmtree(folder, onerror=again)
