"""A pack: rows of one shape on disk, found by the content hash of the photo they belong to.

A folder with `rows.bin`, the rows one after another; `index.bin`, a record for each row; and
`pack.json`, what they are. Rows are appended and synced before their records, so a record never
speaks of a row that is not there; what a killed writer left without a record is overwritten by
the next. One writer at a time holds `lock` (`flock`, released by death); readers hold nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from houndsight.files import write_atomic

__all__ = ["Pack", "PackWriter"]

FORMAT_VERSION = 1
_RECORD = np.dtype([("hash", "S16"), ("checksum", "<u4")])
_WAIT_SECONDS = 0.2


class Pack:
    """The rows `(n, *shape)` of a pack. Opening one that does not exist gives an empty pack."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.folder = folder
        self.shape = shape
        self.dtype = dtype
        self._hashes: NDArray[np.bytes_] = np.empty(0, "S16")
        self._order: NDArray[np.int64] = np.empty(0, np.int64)
        self.refresh()

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._hashes)

    def refresh(self) -> None:
        """Read the index again: another process may have added rows."""
        hashes = _read_index(self.folder / "index.bin")
        available = _size(self.folder / "rows.bin") // self.row_bytes
        self._hashes = hashes[:available]
        self._order = np.argsort(self._hashes, kind="stable")

    def find(self, hashes: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Row of each content hash `(n,)` of dtype S16, -1 where there is none."""
        if len(self._hashes) == 0:
            return np.full(len(hashes), -1, np.int64)
        found = np.searchsorted(self._hashes, hashes, sorter=self._order)
        rows = self._order[np.minimum(found, len(self._order) - 1)]
        return np.where(self._hashes[rows] == hashes, rows, -1)

    def rows(self) -> NDArray[Any]:
        """All rows `(n, *shape)` as a memory map; changing it changes no file."""
        if len(self) == 0:
            return np.empty((0, *self.shape), self.dtype)
        path = self.folder / "rows.bin"
        return np.memmap(path, self.dtype, mode="c", shape=(len(self), *self.shape))

    def touch(self) -> None:
        """Mark as used now, for eviction by age."""
        if (self.folder / "pack.json").exists():
            os.utime(self.folder / "pack.json")

    @contextmanager
    def writer(
        self, about: Mapping[str, Any], waiting: Callable[[], None] = lambda: None
    ) -> Iterator[PackWriter]:
        """Become the one writer; `waiting` is called over and over while another one is.

        Args:
            about: what the rows are, written to `pack.json` for people and for `refresh`.
        """
        with _locked(self.folder, waiting):
            description = {"v": FORMAT_VERSION, "shape": self.shape, "dtype": self.dtype.str}
            text = json.dumps({**description, **about}, indent=2, default=str)
            write_atomic(self.folder / "pack.json", text.encode())
            self.refresh()
            with (
                _opened(self.folder / "rows.bin", len(self) * self.row_bytes) as rows,
                _opened(self.folder / "index.bin", len(self) * _RECORD.itemsize) as index,
            ):
                yield PackWriter(self, rows, index)
            self.refresh()


class PackWriter:
    """Appends rows; made by `Pack.writer`."""

    def __init__(self, pack: Pack, rows: IO[bytes], index: IO[bytes]) -> None:
        self._pack, self._rows, self._index = pack, rows, index

    def append(self, hashes: NDArray[np.bytes_], rows: NDArray[Any]) -> None:
        """Add rows `(n, *shape)` under their content hashes `(n,)`; on disk when it returns."""
        assert rows.shape == (len(hashes), *self._pack.shape), f"rows of shape {rows.shape}"
        self._rows.write(np.ascontiguousarray(rows, self._pack.dtype).data)
        _sync(self._rows)
        records = np.empty(len(hashes), _RECORD)
        records["hash"] = hashes
        records["checksum"] = [_checksum(record) for record in records["hash"]]
        self._index.write(records.tobytes())
        _sync(self._index)


def _read_index(path: Path) -> NDArray[np.bytes_]:
    """Hashes of the whole records; a torn or damaged record ends the index."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return np.empty(0, "S16")
    whole = len(content) // _RECORD.itemsize
    records = np.frombuffer(content, _RECORD, whole)
    bad = np.flatnonzero(
        np.fromiter(map(_checksum, records["hash"]), np.uint32, whole) != records["checksum"]
    )
    return records["hash"][: bad[0] if len(bad) else whole].copy()


def _checksum(content_hash: bytes) -> int:
    # Not zero for zeros, which is what a file system may leave in place of a torn record.
    return zlib.crc32(content_hash, 1)


@contextmanager
def _opened(path: Path, size: int) -> Iterator[IO[bytes]]:
    """The file cut to `size` bytes, to be appended to."""
    with path.open("ab") as file:
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        yield file


@contextmanager
def _locked(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("ab") as file:
            while not try_lock(file):
                waiting()
                time.sleep(_WAIT_SECONDS)
            if _same_file(file, folder / "lock"):  # else it was evicted while we waited
                yield
                return


def try_lock(file: IO[bytes]) -> bool:
    """Whether this process now holds the lock on the open file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
