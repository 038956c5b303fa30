"""Unpacks source and model archives from anyone, and packs what a job has left.

Only ordinary files and folders come out, below the target. A member that leads out of it, a link
or a device is refused by name, and what unpacks to far more than it could honestly be is refused
before it fills the disk.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from lzma import LZMAError
from pathlib import Path
from typing import IO

from houndsight.data.archive_members import Member, is_archive, members
from houndsight.data.safe_names import inside_parts
from houndsight.errors import DataError
from houndsight.jobs.container.command import ContainerError

__all__ = ["extract", "pack"]

MAX_BYTES = 20_000_000_000
MAX_MEMBERS = 200_000
MAX_RATIO = 200
"""Program text shrinks tenfold, weights hardly; a bomb thousandfold."""
RATIO_FREE_BYTES = 500_000_000
"""Up to this an archive may shrink as much as it likes."""

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


def extract(archive: Path, target: Path, *, name: str, max_bytes: int = MAX_BYTES) -> int:
    """Unpack into `target`, which may exist; returns how many files were written.

    Args:
        name: what to call the archive in an error, such as its S3 URI.

    Raises:
        ContainerError: it is no archive, is damaged, holds something refused or is too large.
    """
    if not is_archive(archive):
        raise ContainerError(f"{name} is neither a tar nor a zip archive: upload a tar.gz.")
    limit = min(max_bytes, max(RATIO_FREE_BYTES, MAX_RATIO * archive.stat().st_size))
    member_name, written, count = "", 0, 0
    target.mkdir(parents=True, exist_ok=True)
    try:
        for member in members(archive, limit):
            member_name, count = member.name, count + 1
            path = _place(member, target, name)
            if count > MAX_MEMBERS or written + member.size > limit:
                raise ContainerError(
                    f"{name} unpacks to more than {limit:,} bytes or {MAX_MEMBERS:,} files;"
                    " refused."
                )
            if member.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
            else:
                written += _write(member, path, limit - written, name)
    except _DAMAGED as error:
        raise ContainerError(f"{name} is damaged at {member_name[:200]!r}: {error}.") from error
    except DataError as error:
        raise ContainerError(f"{name} is refused: {error}") from error
    except OSError as error:
        why = error.strerror or str(error)
        raise ContainerError(
            f"{name} cannot be unpacked at {member_name[:200]!r}: {why}."
        ) from error
    return count


def _place(member: Member, target: Path, name: str) -> Path:
    parts = inside_parts(member.name)
    what = f"{name} holds {member.name[:200]!r}"
    if parts is None:
        raise ContainerError(f"{what}, a path that leads out of the archive; refused.")
    if member.kind not in ("file", "folder"):
        raise ContainerError(f"{what}, {member.kind}; refused. Pack the file itself.")
    if not parts and member.kind == "file":
        raise ContainerError(f"{what}, a file without a name; refused.")
    return target.joinpath(*parts)


def _write(member: Member, path: Path, room: int, name: str) -> int:
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("wb") as file:
        while block := source.read(_COPY_BYTES):
            if written + len(block) > room:
                raise ContainerError(f"{name} unpacks to more than its headers say; refused.")
            if not written and block.startswith(b"#!"):
                path.chmod(0o755)
            written += len(block)
            file.write(block)
    return written


def pack(
    folders: Iterable[Path],
    target: Path,
    *,
    report: Callable[[str], None],
    seen_as: Callable[[str], Path | None] = lambda _path: None,
) -> int:
    """Pack what the folders hold into one tar.gz; of equal names the first folder's stays.

    Links are followed as long as they stay inside their folder, others and whatever is no file
    are left out with a line to `report`. Returns the number of files.

    Args:
        seen_as: where a path lies that the script saw, such as `/opt/ml/model/best.pth`.
    """
    names: set[str] = set()
    aside = target.with_name(target.name + ".part")
    with tarfile.open(aside, "w:gz", compresslevel=1) as tar:
        for root in folders:
            for path in sorted(_walk(root)):
                name = str(path.relative_to(root))
                source = _source(path, root, seen_as, report)
                if source is None or name in names:
                    continue
                names.add(name)
                _add(tar, source, name, report)
    aside.replace(target)
    return len(names)


def _walk(root: Path) -> Iterable[Path]:
    for folder, _folders, files in os.walk(root):
        yield from (Path(folder, name) for name in files)


def _source(
    path: Path,
    root: Path,
    seen_as: Callable[[str], Path | None],
    report: Callable[[str], None],
) -> Path | None:
    """The ordinary file that stands behind a path of the folder."""
    source = path
    for _ in range(8):
        if not source.is_symlink():
            break
        pointed = source.readlink()
        source = seen_as(str(pointed)) or source.parent / pointed
    inside = source.resolve().is_relative_to(root.resolve())
    if inside and source.is_file():
        return source
    what = "a link that leads out of its folder" if path.is_symlink() else "no ordinary file"
    report(f"{path.relative_to(root)} is left out of the archive: it is {what}.")
    return None


def _add(tar: tarfile.TarFile, source: Path, name: str, report: Callable[[str], None]) -> None:
    try:
        with source.open("rb") as file:
            info = tar.gettarinfo(arcname=name, fileobj=file)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.type, info.linkname = tarfile.REGTYPE, ""
            info.size = os.fstat(file.fileno()).st_size
            tar.addfile(info, _Exactly(file, info.size))
    except PermissionError as error:
        report(f"{name} is left out of the archive: {error.strerror}.")


class _Exactly:
    """A file of a known size, though a process that was left behind may still cut it."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, count: int = -1) -> bytes:
        count = self._left if count < 0 else min(count, self._left)
        block = self._file.read(count)
        block += b"\0" * (count - len(block))
        self._left -= count
        return block
