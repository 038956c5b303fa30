"""The photos below a folder, as a column of paths: a million take about a hundred megabytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import pyarrow as pa
import pyarrow.compute as pc

from houndsight.data.listing import is_ignored, is_image_name
from houndsight.errors import DataError

__all__ = ["PhotoPaths", "scan_photos"]

_CHUNK = 65_536


@dataclass(frozen=True)
class PhotoPaths(Sequence[Path]):
    """Paths made when they are asked for, from names in Arrow."""

    root: Path
    names: pa.Array
    """`(n,)` strings relative to `root`, with `/`, in the order of their bytes."""
    unnameable: tuple[str, ...] = ()
    """Photos whose names are not valid UTF-8, as they can be shown."""

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> PhotoPaths: ...
    def __getitem__(self, index: int | slice) -> Path | PhotoPaths:
        if isinstance(index, slice):
            return PhotoPaths(self.root, self.names[index])
        return self.root / str(self.names[index].as_py())

    def shown(self) -> pa.Array:
        """Every name as it stands in a table, those that are not valid UTF-8 last."""
        return pa.concat_arrays([self.names, pa.array(self.unnameable, pa.string())])

    def without(self, names: pa.Array) -> PhotoPaths:
        """Those that are not among `names`."""
        left = self.names.filter(pc.invert(pc.is_in(self.names, names)))
        shown = pa.array(self.unnameable, pa.string())
        unnameable = shown.filter(pc.invert(pc.is_in(shown, names))).to_pylist()
        return PhotoPaths(self.root, left, tuple(unnameable))


def scan_photos(root: Path, *, leave_out: Sequence[Path] = ()) -> PhotoPaths:
    """Every photo below `root`, by its ending; hidden files and linked folders are left out.

    Args:
        leave_out: folders not to look into.

    Raises:
        DataError: the folder cannot be read, or holds no photo.
    """
    skipped = {str(path.resolve()) for path in leave_out}
    chunks, names, unnameable = [], [], []
    try:
        for name in _walk(str(root), "", skipped):
            if not _is_utf8(name):
                unnameable.append(name.encode("utf-8", "replace").decode())
                continue
            names.append(name)
            if len(names) == _CHUNK:
                chunks.append(pa.array(names, pa.string()))
                names = []
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror or error}.") from error
    column = pa.chunked_array([*chunks, pa.array(names, pa.string())]).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        raise DataError(f"{root} holds more names than fit in one table; predict its parts.")
    if not len(column) and not unnameable:
        raise DataError(f"{root} holds no photo (JPEG, PNG, WebP, GIF, BMP or TIFF).")
    return PhotoPaths(root, column.take(pc.sort_indices(column)), tuple(sorted(unnameable)))


def _walk(folder: str, prefix: str, skipped: set[str]) -> Iterator[str]:
    """Relative names of the photos in and below `folder`, in no order."""
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_ignored(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(entry)
            elif is_image_name(entry.name):
                yield prefix + entry.name
    for entry in below:
        if not skipped or str(Path(entry.path).resolve()) not in skipped:
            yield from _walk(entry.path, f"{prefix}{entry.name}/", skipped)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
