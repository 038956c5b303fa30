"""Keeping all packs together under a limit: the least recently used are deleted first."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

from houndsight.models.pack import try_lock

__all__ = ["evict", "size_bytes"]


def size_bytes(folder: Path) -> int:
    """Bytes of all files in the folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # evicted by another process meanwhile
    return total


def evict(folder: Path, *, limit_bytes: int, keep: Collection[Path]) -> list[Path]:
    """Delete packs in `folder` until they hold at most `limit_bytes`, oldest use first.

    Packs in `keep` and packs that are being written stay. Returns what was deleted.
    """
    if not folder.is_dir():
        return []
    for left in folder.glob(".evicted-*"):
        shutil.rmtree(left, ignore_errors=True)
    sizes = {pack: size_bytes(pack) for pack in folder.iterdir() if pack.is_dir()}
    total, gone = sum(sizes.values()), []
    for pack in sorted(sizes, key=_last_used):
        if total <= limit_bytes:
            break
        if pack not in keep and _delete(pack):
            total -= sizes[pack]
            gone.append(pack)
    return gone


def _last_used(pack: Path) -> float:
    try:
        return (pack / "pack.json").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _delete(pack: Path) -> bool:
    """Rename, so that nobody finds half a pack, then delete; not while somebody writes it."""
    try:
        with (pack / "lock").open("ab") as file:
            if not try_lock(file):
                return False
            aside = pack.with_name(f".evicted-{uuid.uuid4().hex}")
            pack.rename(aside)
    except FileNotFoundError:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True
