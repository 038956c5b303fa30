"""A stretch of a file, as a file."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

__all__ = ["Slice"]


class Slice(io.RawIOBase):
    """`length` bytes of an open file from `start` on; closes the file with itself."""

    def __init__(self, file: BinaryIO, start: int, length: int | None) -> None:
        size = os.fstat(file.fileno()).st_size
        self._file = file
        self._start = min(max(start, 0), size)
        self._length = size - self._start
        if length is not None:
            self._length = min(self._length, max(length, 0))
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read what fits into `buffer` and is left of the stretch."""
        wanted = min(len(buffer), self._length - self._at)
        if wanted <= 0:
            return 0
        got = os.preadv(self._file.fileno(), [memoryview(buffer)[:wanted]], self._start + self._at)
        self._at += got
        return got

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place in the stretch."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}, before the beginning")
        self._at = base + offset
        return self._at

    def close(self) -> None:
        """Close the file too."""
        if not self.closed:
            self._file.close()
        super().close()
