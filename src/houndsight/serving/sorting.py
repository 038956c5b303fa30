"""Linking predicted photos into one folder a class, to look through them in any file manager."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from houndsight.errors import DataError, SettingError
from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted
from houndsight.files import write_atomic

__all__ = ["class_folder", "sort_into_classes"]

_MARKER = ".houndsight-sorted.json"
_UNSUPPORTED = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK}


def sort_into_classes(
    predictions: Path,
    root: Path,
    target: Path,
    *,
    link: str = "auto",
    listener: Listener | None = None,
) -> dict[str, int]:
    """Link every photo of a predictions file below `target/CLASS/`; how many went to each class.

    Photos keep their names; where two of a class share one, the later gets a piece of its path's
    hash. Started again after a crash it goes on. Photos that could not be read are left out.

    Args:
        root: the folder that the file's paths are relative to.
        target: a folder that is empty, or holds an earlier sorting of the same predictions.
        link: `symlink`, `hardlink`, `copy`, or `auto` for the first of these that works.

    Raises:
        DataError: `target` holds something else, or lies in `root` or around it.
        SettingError: `link` is none of these.
    """
    emit = Emitter([] if listener is None else [listener])
    linker = _Linker(link)
    _prepare(predictions, root, target)
    counts: dict[str, int] = {}
    folders: dict[str, Path] = {}
    total = pq.read_metadata(predictions).num_rows
    started = time.monotonic()
    emit(StageStarted(stage="sort", text="Sorting into class folders", total=total))
    for done, (path, name) in enumerate(_predicted(predictions)):
        if name not in folders:
            folders[name] = target / _free_folder(name, {p.name for p in folders.values()})
            folders[name].mkdir(exist_ok=True)
        linker.place((root / path).absolute(), folders[name], path)
        counts[name] = counts.get(name, 0) + 1
        if done % 1000 == 0:
            emit(StageProgress(stage="sort", done=done, total=total))
    text = f"Sorted {sum(counts.values()):,} photos into {len(counts):,} classes in {target}"
    emit(StageEnded(stage="sort", seconds=time.monotonic() - started, text=text))
    return counts


def class_folder(name: str) -> str:
    """A class's name as the name of a folder on every system."""
    clean = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name).strip(" .")
    while len(clean.encode()) > 200:
        clean = clean[:-1]
    return clean or "_"


class _Linker:
    """Puts photos into folders in the chosen way."""

    def __init__(self, link: str) -> None:
        ways: dict[str, Callable[[Path, Path], None]] = {
            "symlink": os.symlink,
            "hardlink": os.link,
            "copy": _copy,
        }
        if link != "auto" and link not in ways:
            raise SettingError(f"link is {link!r}; it is one of auto, {', '.join(ways)}.")
        self._ways = list(ways.values()) if link == "auto" else [ways[link]]

    def place(self, photo: Path, folder: Path, relative: str) -> None:
        """Link `photo` into `folder` under its name, or one that is free."""
        for name in _names(relative):
            try:
                self._link(photo, folder / name)
                return
            except FileExistsError:
                if _is_same(photo, folder / name):
                    return
            except OSError as error:
                raise DataError(
                    f"{photo} cannot be linked into {folder}: {error.strerror or error}."
                ) from error

    def _link(self, photo: Path, target: Path) -> None:
        try:
            self._ways[0](photo, target)
        except OSError as error:
            if len(self._ways) == 1 or error.errno not in _UNSUPPORTED:
                raise
            # This file system cannot do that; the next way is taken from here on.
            self._ways.pop(0)
            self._link(photo, target)


def _names(relative: str) -> Iterator[str]:
    """The photo's own name, then ones with more and more of its path's hash."""
    path = Path(relative)
    yield path.name
    digest = hashlib.blake2b(relative.encode(), digest_size=16).hexdigest()
    for length in (8, 16, 32):
        yield f"{path.stem[:200]}-{digest[:length]}{path.suffix}"


def _is_same(photo: Path, existing: Path) -> bool:
    """Whether `existing` is this photo, linked or copied before."""
    if existing.is_symlink():
        return existing.readlink() == photo
    try:
        ours, theirs = photo.stat(), existing.stat()
    except OSError:
        return False
    if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino):
        return True
    return (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns)


def _copy(photo: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    aside = target.with_name(f".{target.name[:200]}.{os.getpid()}")
    shutil.copy2(photo, aside)
    aside.replace(target)


def _prepare(predictions: Path, root: Path, target: Path) -> None:
    ours, photos = target.resolve(), root.resolve()
    if ours == photos or photos in ours.parents or ours in photos.parents:
        raise DataError(f"{target} and {root} lie in one another; name a folder beside the photos.")
    meta = pq.read_schema(predictions).metadata or {}
    marker = json.dumps({"v": 1, "predictions": hashlib.sha256(repr(meta).encode()).hexdigest()})
    path = target / _MARKER
    try:
        target.mkdir(parents=True, exist_ok=True)
        found = path.read_text() if path.exists() else None
        if found is None and next(target.iterdir(), None) is None:
            write_atomic(path, marker.encode())
            found = marker
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}.") from error
    if found != marker:
        raise DataError(f"{target} holds other files; name an empty folder to sort into.")


def _predicted(predictions: Path) -> Iterator[tuple[str, str]]:
    """Path and class of every photo that could be read."""
    with pq.ParquetFile(predictions) as file:
        for batch in file.iter_batches(8192, columns=["path", "class"]):
            paths, names = batch["path"].to_pylist(), batch["class"].to_pylist()
            for path, name in zip(paths, names, strict=True):
                if name is not None:
                    yield path, name


def _free_folder(name: str, taken: set[str]) -> str:
    """A folder name for a class that no other class has, also where case does not count."""
    folded = {t.casefold() for t in taken}
    base = candidate = class_folder(name)
    number = 1
    while candidate.casefold() in folded:
        number += 1
        candidate = f"{base} ({number})"
    return candidate
