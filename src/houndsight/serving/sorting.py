"""Linking predicted photos into one folder a class, to look through them in any file manager."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from houndsight.errors import DataError, SettingError
from houndsight.events import Emitter, Listener, StageEnded, StageProgress, StageStarted
from houndsight.files import write_atomic
from houndsight.serving.bulk_file import parquet_metadata
from houndsight.wording import plural

__all__ = ["check_target", "class_folder", "sort_into_classes"]

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
    text = (
        f"Sorted {plural(sum(counts.values()), 'photo')} into "
        f"{plural(len(counts), 'class', 'classes')} in {target}"
    )
    emit(StageEnded(stage="sort", seconds=time.monotonic() - started, text=text))
    return counts


def check_target(predictions: Path, root: Path, target: Path, facts: Mapping[str, Any]) -> None:
    """Whether photos can be sorted into `target`, before anything is predicted.

    Args:
        predictions: the file that will hold the predictions; it may not be there yet.
        facts: what that file will say about itself.

    Raises:
        DataError: `target` holds something else, cannot be written, or lies in `root` or around
            it or around `predictions`.
        SettingError: `predictions` is to be a file that cannot be read back.
    """
    if predictions.suffix.lower() == ".csv":
        raise SettingError(
            f"Photos cannot be sorted by a CSV file; name it {predictions.stem}.parquet."
        )
    _check_place(root, target)
    if target.resolve() in predictions.resolve().parents:
        raise DataError(f"{predictions} lies in {target}; name a folder to sort into beside it.")
    if target.exists():
        _check_content(target, _marker(parquet_metadata(facts)))
    above = next(path for path in (target, *target.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise DataError(f"{target} cannot be written: {above} is not a folder that can be.")


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
    _check_place(root, target)
    marker = _marker(pq.read_schema(predictions).metadata or {})
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}.") from error
    _check_content(target, marker)
    try:
        write_atomic(target / _MARKER, marker.encode())
    except OSError as error:
        raise DataError(f"{target} cannot be written: {error.strerror or error}.") from error


def _check_place(root: Path, target: Path) -> None:
    ours, photos = target.resolve(), root.resolve()
    if ours == photos or photos in ours.parents or ours in photos.parents:
        raise DataError(f"{target} and {root} lie in one another; name a folder beside the photos.")


def _check_content(target: Path, marker: str) -> None:
    """Make sure that `target` is empty, or holds a sorting with this marker."""
    path = target / _MARKER
    try:
        empty = next(target.iterdir(), None) is None
        same = empty or (path.exists() and path.read_text() == marker)
    except OSError as error:
        raise DataError(f"{target} cannot be read: {error.strerror or error}.") from error
    if not same:
        raise DataError(f"{target} holds other files; name an empty folder to sort into.")


def _marker(metadata: Mapping[bytes, bytes]) -> str:
    """What tells a sorting of these predictions from other files."""
    digest = hashlib.sha256(repr(dict(metadata)).encode()).hexdigest()
    return json.dumps({"v": 1, "predictions": digest})


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
