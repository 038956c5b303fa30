"""Reads zip and tar files member by member, in the order they stand, with bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from houndsight.errors import DataError

__all__ = ["Member", "is_archive", "members"]

MAX_HEADER_BYTES = 16 << 20
"""tarfile reads a header of any size at once; no honest one comes near this."""

_COMPRESSED: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),  # type: ignore[dict-item, return-value]
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


@dataclass(frozen=True)
class Member:
    """One entry: `kind` is `file`, `folder`, or says what else it is."""

    name: str
    kind: str
    size: int
    """In bytes, as the archive says."""
    open: Callable[[], IO[bytes]]
    """To be called before the next member is asked for."""


def is_archive(path: Path) -> bool:
    """Whether the content is a zip file, or a tar file or a compressed file, by its first bytes."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", *_COMPRESSED)):
        return True
    return start[257:262] == b"ustar" or _is_old_tar(start)


def members(path: Path, limit_bytes: int) -> Iterator[Member]:
    """The archive's entries; `limit_bytes` bounds what is decompressed to find them.

    Raises:
        DataError: it is larger than the limit.
        Exception: whatever the standard library raises on damage.
    """
    with path.open("rb") as file:
        start = file.read(6)
    return _zip_members(path) if start.startswith(b"PK") else _tar_members(path, limit_bytes)


def _is_old_tar(start: bytes) -> bool:
    """Whether a block is a header of a tar file from before POSIX, which has no magic number."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            yield Member(
                name=info.filename,
                kind=_zip_kind(info),
                size=info.file_size,
                open=lambda info=info: archive.open(info),  # type: ignore[misc]
            )


def _zip_kind(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a device or pipe"
    if info.is_dir() or kind == stat.S_IFDIR:
        return "folder"
    return "encrypted" if info.flag_bits & 0x1 else "file"


def _tar_members(path: Path, limit_bytes: int) -> Iterator[Member]:
    with (
        path.open("rb") as file,
        _decompressed(file) as plain,
        tarfile.open(fileobj=_Bounded(plain, path, limit_bytes), mode="r:") as archive,
    ):
        for info in archive:
            yield Member(
                name=info.name,
                kind=_tar_kind(info),
                size=info.size,
                open=lambda info=info: _content(archive, info),  # type: ignore[misc]
            )
            # tarfile remembers every member; a million of them would fill a gigabyte.
            archive.members = []  # type: ignore[attr-defined]


def _tar_kind(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    if info.issym() or info.islnk():
        return "a link"
    return "file" if info.isfile() else "a device or pipe"


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    assert content is not None, "only files are opened"
    return content


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    for magic, opener in _COMPRESSED.items():
        if start.startswith(magic):
            return opener(file)
    return file


class _Bounded(io.RawIOBase):
    """A stream that is neither read past a limit nor in huge pieces."""

    def __init__(self, stream: IO[bytes], path: Path, limit_bytes: int) -> None:
        self._stream = stream
        self._path = path
        # Headers and padding take up to 1.5 kB a member besides the content that is counted.
        self._limit = 2 * limit_bytes + (1 << 30)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise DataError(
                f"{self._path} has a header of {size:,} bytes, which no honest archive has."
            )
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset > self._limit:
            raise DataError(
                f"{self._path} unpacks to more than {self._limit:,} bytes, which a folder of "
                "photos would not."
            )
        return self._stream.seek(offset)
