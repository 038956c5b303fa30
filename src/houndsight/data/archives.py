"""Unpacks archives into the cache, once for each content, and trusts nothing in them.

Only ordinary files are written, below the target, with fresh permissions. A member that leads
out of it, a link, a device or an encrypted member is refused by name; what unpacks to far more
than a folder of photos could is refused before it fills the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tarfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import IO

from houndsight.config import require_cache_home
from houndsight.data.archive_members import Member, is_archive, members
from houndsight.data.cache_lock import locked
from houndsight.data.listing import is_ignored, printable_path
from houndsight.data.safe_names import inside_parts
from houndsight.errors import DataError
from houndsight.events import Emitter, StageEnded, StageProgress, StageStarted

__all__ = ["is_archive", "unpack"]

STAGE = "unpack"
MAX_RATIO = 200
"""Photos hardly shrink in an archive; text shrinks tenfold, a bomb thousandfold."""
RATIO_FREE_BYTES = 1_000_000_000
"""Below this an archive may shrink as much as it likes."""
MAX_MEMBERS = 10_000_000
MAX_DEPTH = 100

_COPY_BYTES = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    ArithmeticError,
    struct.error,
)
"""What the readers of the standard library raise on damaged or hostile archives."""


def unpack(
    archive: Path, *, limit_bytes: int, target: Path | None = None, emit: Emitter | None = None
) -> Path:
    """The folder that holds what the archive holds; one that is there is not written again.

    Args:
        archive: a zip file or a tar file, plain or compressed by gzip, bzip2 or xz.
        limit_bytes: the most that may be written.
        target: the folder; by default one in the cache, named by the archive's content.
        emit: hears how many files are unpacked.

    Raises:
        DataError: it is no archive, is damaged, or holds something refused.
    """
    emit = emit or Emitter()
    start = time.monotonic()
    emit(StageStarted(stage=STAGE, text=f"Unpacking {archive.name}", unit="files"))
    if not is_archive(archive):
        raise DataError(f"{archive} is no archive that can be unpacked: {_looks_like(archive)}.")
    target = target or require_cache_home() / "archives" / _digest(archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not target.is_dir():
            _unpack_aside(archive, target, limit_bytes, emit)
    os.utime(target)  # the time of last use, for those who prune the cache
    emit(StageEnded(stage=STAGE, seconds=time.monotonic() - start, text=f"{archive.name} unpacked"))
    return target


def _unpack_aside(archive: Path, target: Path, limit_bytes: int, emit: Emitter) -> None:
    """Unpack beside `target` and rename, so that a killed process leaves no half folder."""
    aside = target.with_name(target.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        _Unpacking(archive, aside, limit_bytes, emit).run()
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    aside.rename(target)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    known = {b"7z\xbc\xaf\x27\x1c": "7-Zip", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard"}
    for magic, name in known.items():
        if start.startswith(magic):
            return f"it is a {name} file; unpack it yourself and give the folder"
    if not start:
        return "it is empty"
    if start.lstrip()[:1] == b"<":
        return "it is a web page, so the address leads to a page about the file"
    return f"it is neither zip nor tar, and starts with {start[:16]!r}"


@dataclass
class _Unpacking:
    """One pass over an archive."""

    archive: Path
    folder: Path
    limit_bytes: int
    emit: Emitter
    written: int = 0
    count: int = 0

    def run(self) -> None:
        size = self.archive.stat().st_size
        self.limit_bytes = min(self.limit_bytes, max(RATIO_FREE_BYTES, MAX_RATIO * size))
        name = ""
        try:
            for member in members(self.archive, self.limit_bytes):
                name = member.name
                self._write(member)
        except _DAMAGED as error:
            raise self._refused(f"is damaged or not supported ({error})", name) from error
        except OSError as error:
            # gzip and bzip2 report damage as an OSError without a number.
            if error.errno is None:
                raise self._refused(f"is damaged ({error})", name) from error
            reason = f"cannot be unpacked into {self.folder.parent} ({error.strerror})"
            raise self._refused(reason, name) from error

    def _write(self, member: Member) -> None:
        self.count += 1
        if self.count > MAX_MEMBERS:
            raise self._refused(f"holds more than {MAX_MEMBERS:,} files")
        parts = inside_parts(member.name)
        if parts is None:
            raise self._refused("has a path that leads out of the archive", member.name)
        if member.kind not in ("file", "folder"):
            raise self._refused(f"is {member.kind}, which is not unpacked", member.name)
        if member.kind == "folder" or any(map(is_ignored, parts)):
            return
        if not 1 <= len(parts) <= MAX_DEPTH:
            reason = f"has a path of {len(parts)} parts, not 1 to {MAX_DEPTH}"
            raise self._refused(reason, member.name)
        self._room_for(member.size)
        target = self.folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, target.open("wb") as file:
            self._copy(source, file)
        if self.count % 1000 == 0:
            self.emit(StageProgress(stage=STAGE, done=self.count))

    def _room_for(self, size: int) -> None:
        """Refuse what says itself that it is too large; what it does not say, `_copy` counts."""
        if self.written + size > self.limit_bytes:
            raise self._too_large()
        if size > _COPY_BYTES and size > shutil.disk_usage(self.folder).free:
            raise self._refused(f"does not fit on the disk of {self.folder.parent}")

    def _copy(self, source: IO[bytes], target: IO[bytes]) -> None:
        while block := source.read(_COPY_BYTES):
            self.written += len(block)
            if self.written > self.limit_bytes:
                raise self._too_large()
            target.write(block)

    def _too_large(self) -> DataError:
        return self._refused(
            f"unpacks to more than {self.limit_bytes:,} bytes, which a folder of photos would not; "
            f"raise data.max_unpacked_gb or unpack it yourself and give the folder"
        )

    def _refused(self, reason: str, member: str = "") -> DataError:
        inside = f", member {printable_path(member)[:200]!r}," if member else ""
        return DataError(f"{self.archive}{inside} {reason}.")
