"""Mirrors a folder of a bucket (`s3://`, `gs://`) into the cache through `pyarrow.fs`.

A file that is there with the same size and time is not fetched again, so that a broken mirror
goes on where it stopped; what is no longer in the bucket is deleted from the mirror.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from pyarrow import fs

from houndsight.config import require_cache_home
from houndsight.data.cache_lock import locked
from houndsight.data.layouts import TABLE_NAMES
from houndsight.data.listing import is_ignored, is_image_name
from houndsight.data.safe_names import inside_parts
from houndsight.errors import DataError, NetworkError
from houndsight.events import Emitter, StageEnded, StageProgress, StageStarted

__all__ = ["fetch_bucket"]

STAGE = "download"
_CONNECTIONS = 8
_BLOCK_BYTES = 1 << 20
_BATCH = 256


@dataclass(frozen=True, slots=True)
class _Object:
    """A file of the bucket: `path` in the file system, `inside` below the folder asked for."""

    path: str
    inside: str
    size_bytes: int
    mtime_ns: int


def fetch_bucket(
    uri: str,
    *,
    limit_bytes: int,
    emit: Emitter | None = None,
    filesystem: Any = None,
) -> Path:
    """The mirror of a bucket's folder in the cache, or the one file that the address names.

    Args:
        uri: such as `s3://bucket/photos` or `gs://bucket/photos.zip`.
        limit_bytes: the most that is fetched.
        emit: hears the progress, in bytes.
        filesystem: a `pyarrow.fs.FileSystem` that replaces the one of the address, for tests.

    Raises:
        NetworkError: the bucket cannot be reached.
        DataError: there is nothing, or more than the limit.
    """
    emit = emit or Emitter()
    shown = shown_uri(uri)
    folder = require_cache_home() / "buckets" / hashlib.sha256(uri.encode()).hexdigest()[:32]
    try:
        system, base = _open(uri, filesystem)
        objects = list(_objects(system, base))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise NetworkError(
            f"{shown} cannot be listed: {_first_line(error)}. Check the address, the network and "
            "the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS); a "
            f"public bucket is read without any as {_anonymous(uri)}."
        ) from error
    total = sum(item.size_bytes for item in objects)
    if not objects:
        raise DataError(f"{shown} holds no photos, label table or archive.")
    if total > limit_bytes:
        raise DataError(
            f"{shown} holds {total / 1e9:,.1f} GB, more than {limit_bytes / 1e9:,.3g}; raise "
            "data.max_download_gb if you want it."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _Mirror(system, folder, emit, total).run(objects, shown)
    single = len(objects) == 1 and objects[0].path == base
    return folder / objects[0].inside if single else folder


def shown_uri(uri: str) -> str:
    """The address without keys and query."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _anonymous(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://anonymous@{parts.hostname or ''}{parts.path}"


def _open(uri: str, filesystem: Any) -> tuple[Any, str]:
    parts = urlsplit(uri)
    base = f"{parts.hostname or ''}{parts.path}".rstrip("/")
    if filesystem is not None:
        return filesystem, base
    if parts.scheme == "gs" and "retry_limit_seconds" not in parts.query:
        # Otherwise Google's client tries for a quarter of an hour.
        uri += ("&" if parts.query else "?") + "retry_limit_seconds=60"
    if parts.scheme == "s3" and parts.username == "anonymous":
        # Arrow knows this form of address for Google's buckets only.
        region = dict(parse_qsl(parts.query)).get("region")
        region = region or fs.resolve_s3_region(parts.hostname)
        return fs.S3FileSystem(anonymous=True, region=region), base
    system, base = fs.FileSystem.from_uri(uri)
    return system, base.rstrip("/")


def _objects(system: Any, base: str) -> Iterator[_Object]:
    (top,) = system.get_file_info([base])
    if top.type == fs.FileType.File:
        yield _object(top, base.rsplit("/", 1)[-1])
    if top.type != fs.FileType.Directory:
        return
    for info in system.get_file_info(fs.FileSelector(base, recursive=True)):
        inside = info.path[len(base) :].lstrip("/")
        if info.type == fs.FileType.File and _is_wanted(inside):
            yield _object(info, inside)


def _object(info: Any, inside: str) -> _Object:
    return _Object(info.path, inside, int(info.size or 0), int(info.mtime_ns or 0))


def _is_wanted(inside: str) -> bool:
    """Photos and label tables; a key such as `a/../b` is no path and is left out."""
    parts = inside_parts(inside)
    if not parts or "/".join(parts) != inside or any(map(is_ignored, parts)):
        return False
    return is_image_name(parts[-1]) or parts[-1].lower() in TABLE_NAMES


class _Mirror:
    """One run of the mirror into a folder."""

    def __init__(self, system: Any, folder: Path, emit: Emitter, total: int) -> None:
        self.system, self.folder, self.emit, self.total = system, folder, emit, total
        self.done = 0

    def run(self, objects: list[_Object], shown: str) -> None:
        start = time.monotonic()
        text = f"Downloading {len(objects):,} files of {shown}"
        self.emit(StageStarted(stage=STAGE, text=text, total=self.total, unit="bytes"))
        self._delete_others({item.inside for item in objects})
        try:
            self._fetch_all(objects)
        except (OSError, pa.ArrowException) as error:
            raise NetworkError(
                f"{shown} cannot be fetched: {_first_line(error)}. Try again to go on where it "
                "stopped."
            ) from error
        done = f"{len(objects):,} files, {self.total / 1e6:,.1f} MB"
        self.emit(StageEnded(stage=STAGE, seconds=time.monotonic() - start, text=done))

    def _fetch_all(self, objects: list[_Object]) -> None:
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            for start in range(0, len(objects), _BATCH):
                batch = objects[start : start + _BATCH]
                tasks = [pool.submit(self._fetch, item) for item in batch]
                wait(tasks, return_when=FIRST_EXCEPTION)
                for task in tasks:
                    task.result()
                self.done += sum(item.size_bytes for item in batch)
                self.emit(StageProgress(stage=STAGE, done=self.done, total=self.total))

    def _fetch(self, item: _Object) -> None:
        target = self.folder / item.inside
        if _is_same(target, item):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        with self.system.open_input_stream(item.path) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, _BLOCK_BYTES)
        os.utime(part, ns=(item.mtime_ns, item.mtime_ns))
        part.replace(target)

    def _delete_others(self, wanted: set[str]) -> None:
        for root, _, names in os.walk(self.folder):
            below = Path(root).relative_to(self.folder)
            for name in names:
                if (below / name).as_posix() not in wanted:
                    Path(root, name).unlink()


def _is_same(target: Path, item: _Object) -> bool:
    try:
        status = target.stat()
    except OSError:
        return False
    return status.st_size == item.size_bytes and status.st_mtime_ns == item.mtime_ns


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
