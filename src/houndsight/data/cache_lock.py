"""One process at a time fills a place in the cache; its death lets the next one in."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked"]


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the lock of a file or folder, waiting for it; the lock file stays beside it."""
    with target.with_name(f".{target.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
