"""The files that hold the objects' bytes.

A file's name is a hash of bucket and key with a random tail, so that no key leads out of the
folder and nothing is ever overwritten: an object is replaced by another file. Life of one:

    created, locked (`flock`) ─► written ─► fsynced ─► named in the database ─► unlocked
                                                     ─► named no more ─► deleted

A file that the database does not name and nobody holds is left over from a process that was
killed; `sweep` deletes it. The lock dies with its process.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from houndsight.jobs.objects.errors import ObjectError

__all__ = ["BlobFolder", "BlobWriter", "copy_range", "disk_errors", "lock_range", "share_blocks"]

CHUNK_BYTES = 1 << 20
FICLONE = 0x40049409
"""The ioctl that makes a file share another's blocks (linux/fs.h)."""


class BlobWriter:
    """Writes one file, or one stretch of it. Use as a context: what is not kept is deleted."""

    def __init__(
        self,
        descriptor: int,
        path: Path,
        *,
        offset: int = 0,
        shared: bool = False,
        room: int | None = None,
    ) -> None:
        """Write into an open file.

        Args:
            shared: others write into it, too.
            room: so many bytes are this writer's; behind them begins somebody else's stretch.
        """
        self.descriptor, self.path, self.offset, self.shared = descriptor, path, offset, shared
        self._room = room
        self.size = 0
        self._digest = hashlib.md5(usedforsecurity=False)
        self._kept = False

    @property
    def name(self) -> str:
        """What the database calls the file."""
        return self.path.name

    @property
    def md5(self) -> str:
        """Of all bytes so far, hexadecimal: S3's ETag of an object that came in one piece."""
        return self._digest.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append.

        Raises:
            ObjectError: IncompleteBody: there is no room for it; InsufficientStorage.
        """
        if self._room is not None and self.size + len(data) > self._room:
            raise ObjectError(
                "IncompleteBody",
                f"The part is longer than the {self._room} bytes that belong to it: send as many as"
                " x-amz-decoded-content-length says.",
            )
        self._digest.update(data)
        view = memoryview(data)
        with disk_errors():
            while view:
                written = os.pwrite(self.descriptor, view, self.offset + self.size)
                self.size += written
                view = view[written:]

    def adopt(self) -> None:
        """Count and digest what the file holds already."""
        while chunk := os.pread(self.descriptor, CHUNK_BYTES, self.size):
            self._digest.update(chunk)
            self.size += len(chunk)

    def sync(self) -> None:
        """Wait until all bytes, and the file's entry in its folder, are on the disk."""
        with disk_errors():
            os.fsync(self.descriptor)

    def keep(self) -> None:
        """The database names it now."""
        self._kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; delete it unless it was kept or belongs to others too."""
        if self.descriptor < 0:
            return
        if not self._kept and not self.shared:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)
        self.descriptor = -1


class BlobFolder:
    """The folder of all such files, spread over 16 folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where the file called `name` lies."""
        return self.root / name[0] / name

    def new_name(self, bucket: str, key: bytes) -> str:
        """A name that no other file has."""
        digest = hashlib.blake2b(bucket.encode() + b"\0" + key, digest_size=16)
        return f"{digest.hexdigest()}-{secrets.token_hex(8)}"

    def create(self, bucket: str, key: bytes) -> BlobWriter:
        """A new file, empty and locked."""
        while True:
            path = self.path(self.new_name(bucket, key))
            descriptor = self._open_new(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else the sweeper came first
                return BlobWriter(descriptor, path)
            os.close(descriptor)

    def open_shared(self, name: str) -> int:
        """A descriptor of a file that several parts are written into; made at need."""
        with disk_errors():
            self._make_folder(self.path(name).parent)
            return os.open(self.path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files that the database names no more."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def sweep(self, is_named: Callable[[str], bool]) -> int:
        """Delete what killed processes left; returns how many files. Safe beside writers."""
        swept = 0
        for folder in _folders(self.root):
            with os.scandir(folder) as entries:
                unnamed = (Path(entry.path) for entry in entries if not is_named(entry.name))
                swept += sum(self._sweep_one(path, is_named) for path in unnamed)
        return swept

    def _sweep_one(self, path: Path, is_named: Callable[[str], bool]) -> int:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_named(path.name):  # its writer committed and let go since we asked
                return 0
            path.unlink(missing_ok=True)
            return 1
        except BlockingIOError:
            return 0
        finally:
            os.close(descriptor)

    def _open_new(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with disk_errors():
            try:
                return os.open(path, flags, 0o600)
            except FileNotFoundError:
                self._make_folder(path.parent)
                return os.open(path, flags, 0o600)

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self.root)


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk in the store's own words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ObjectError(
                "InsufficientStorage", f"The store's disk takes no more: {error.strerror}."
            ) from error
        raise


def sync_folder(folder: Path) -> None:
    """Wait until a folder's entries are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_range(descriptor: int, start: int, length: int) -> bool:
    """Try to own `length` bytes of a file (0: all) until its descriptor is closed.

    The lock belongs to the open file, not to the process (`F_OFD_SETLK`, fcntl(2)), so it also
    stands between threads.
    """
    command = getattr(fcntl, "F_OFD_SETLK", None)
    if command is None:
        return False
    # struct flock: type, whence, start, length, pid
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    try:
        fcntl.fcntl(descriptor, command, wanted)
    except (BlockingIOError, PermissionError):
        return False
    return True


def share_blocks(source: int, target: int) -> bool:
    """Make `target` a copy of `source` that shares its blocks, where the file system can."""
    with suppress(OSError):
        fcntl.ioctl(target, FICLONE, source)
        return True
    return False


def copy_range(source: int, target: int, offset: int, length: int, at: int) -> None:
    """Copy `length` bytes from `offset` of one file to `at` of another, in the kernel."""
    with disk_errors():
        while length:
            copied = _copy_some(source, target, offset, length, at)
            if copied == 0:
                raise ObjectError("InternalError", "A part of the upload is shorter than it was.")
            offset, at, length = offset + copied, at + copied, length - copied


def _copy_some(source: int, target: int, offset: int, length: int, at: int) -> int:
    try:
        return os.copy_file_range(source, target, length, offset, at)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise
    return os.pwrite(target, os.pread(source, min(length, CHUNK_BYTES), offset), at)


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
