"""Unpacking a `model.tar.gz` from anyone: only plain files that its `model.json` lists."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable
from gzip import BadGzipFile, GzipFile
from pathlib import Path, PurePosixPath
from typing import IO, cast

from houndsight.errors import ArtifactError

__all__ = ["MAX_UNPACKED_BYTES", "unpack"]

MAX_UNPACKED_BYTES = 8_000_000_000
"""The largest backbones of the table are under 1.5 GB, saved twice (weights and graph)."""
MAX_MEMBERS = 1_000
HEADER_ALLOWANCE_BYTES = 64_000_000
"""Room for headers and `model.json`; a header bomb stops here."""

_BROKEN = (tarfile.TarError, BadGzipFile, zlib.error, EOFError, OSError, UnicodeError, ValueError)


def unpack(
    archive: Path,
    target: Path,
    *,
    wanted: Callable[[str], bool],
    max_bytes: int = MAX_UNPACKED_BYTES,
) -> None:
    """Unpack the members that are `wanted` by their path; others are left out.

    Raises:
        ArtifactError: not a tar.gz, damaged or truncated, larger than `max_bytes` unpacked, or
            a member is a link, a device or has a path that leads outside.
    """
    try:
        with archive.open("rb") as file, GzipFile(fileobj=file) as plain:
            stream = _Limited(plain, HEADER_ALLOWANCE_BYTES)
            with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as tar:
                _unpack_members(tar, stream, target, wanted, max_bytes, archive)
            stream.drain()
    except FileNotFoundError as error:
        raise ArtifactError(f"{archive} does not exist.") from error
    except _BROKEN as error:
        raise ArtifactError(
            f"{archive} is not a whole tar.gz archive ({error}); copy it again."
        ) from error


def _unpack_members(
    tar: tarfile.TarFile,
    stream: _Limited,
    target: Path,
    wanted: Callable[[str], bool],
    max_bytes: int,
    archive: Path,
) -> None:
    total, seen = 0, set()
    for number, member in enumerate(tar):
        name = _safe_name(member, archive)
        total += member.size
        if number >= MAX_MEMBERS or total > max_bytes:
            raise ArtifactError(
                f"{archive} holds more than {MAX_MEMBERS:,} files or {max_bytes:,} bytes; "
                "a model is smaller than that."
            )
        stream.allow(member.size)
        if member.isdir() or not wanted(name):
            continue
        if name in seen:
            raise ArtifactError(f"{archive} holds {name} twice; that is not a saved model.")
        seen.add(name)
        source = tar.extractfile(member)
        assert source is not None
        _copy(source, target / name)


def _safe_name(member: tarfile.TarInfo, archive: Path) -> str:
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise ArtifactError(f"{archive} holds {member.name!r}, a link or device; refused.")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
        raise ArtifactError(f"{archive} holds {member.name!r}, a path that leads out; refused.")
    return str(path)


def _copy(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        while block := source.read(1 << 20):
            file.write(block)


class _Limited:
    """A stream that stops when more was read than was allowed so far."""

    def __init__(self, source: GzipFile, allowance: int) -> None:
        self._source = source
        self._left = allowance

    def allow(self, count: int) -> None:
        """Let `count` bytes more be read."""
        self._left += count

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= self._left:
            raise ArtifactError("The archive unpacks to more than its headers say; refused.")
        block = self._source.read(count)
        self._left -= len(block)
        return block

    def drain(self) -> None:
        """Read to the end, so that a truncated file or a wrong checksum is noticed."""
        while self.read(min(1 << 20, max(self._left, 1))):
            pass
