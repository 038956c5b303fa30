"""The object store: buckets and objects, for several processes at once.

What an object is stands in one row of the database, its bytes in one file (`blobs`). A write
fsyncs the file, then commits the row: until then readers see the object before, and from then
on it survives a power cut. Copies share a file. A reader that opened a file reads it to its end,
whatever becomes of the object.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from houndsight.jobs.objects import listing, names, rows
from houndsight.jobs.objects.blobs import CHUNK_BYTES, BlobFolder, BlobWriter, share_blocks
from houndsight.jobs.objects.database import Database
from houndsight.jobs.objects.errors import ObjectError
from houndsight.jobs.objects.records import (
    DEFAULT_CONTENT_TYPE,
    BucketInfo,
    Condition,
    Listing,
    ObjectInfo,
    Properties,
)
from houndsight.jobs.objects.slices import Slice
from houndsight.jobs.objects.uploads import Uploads

__all__ = ["ObjectStore"]

ALWAYS = Condition()
Source = BinaryIO | Iterable[bytes] | bytes


class ObjectStore:
    """Buckets and objects under one folder. Methods may be called from any thread."""

    def __init__(self, folder: Path, *, account: str = "000000000000") -> None:
        """Open the store in `folder`, or make one.

        Raises:
            ObjectError: the folder holds something else, or a newer version's store.
        """
        self.folder, self.account = folder, account
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.blobs = BlobFolder(folder / "blobs")
        self.database = Database(folder / "index.sqlite")
        self.uploads = Uploads(self.database, self.blobs)

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()

    # -- buckets ------------------------------------------------------------------------------

    def create_bucket(self, name: str, region: str = "us-east-1") -> BucketInfo:
        """Make a bucket.

        Raises:
            ObjectError: InvalidBucketName, or BucketAlreadyOwnedByYou.
        """
        names.check_bucket_name(name)
        info = BucketInfo(name, time.time(), region)

        def insert(db: sqlite3.Connection) -> None:
            try:
                db.execute(
                    "INSERT INTO buckets (name, created, region, tags) VALUES (?, ?, ?, '{}')",
                    (info.name, info.created, info.region),
                )
            except sqlite3.IntegrityError as error:
                raise ObjectError(
                    "BucketAlreadyOwnedByYou",
                    "Your previous request to create the named bucket succeeded and you already"
                    " own it.",
                    bucket=name,
                ) from error

        self.database.write(insert)
        return info

    def head_bucket(self, name: str) -> BucketInfo:
        """The bucket.

        Raises:
            ObjectError: NoSuchBucket.
        """
        with self.database.reading() as db:
            return rows.find_bucket(db, name)

    def buckets(self) -> Sequence[BucketInfo]:
        """All buckets, by name."""
        with self.database.reading() as db:
            found = db.execute("SELECT name FROM buckets ORDER BY name").fetchall()
            return [rows.find_bucket(db, name) for (name,) in found]

    def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket, with the uploads begun in it.

        Raises:
            ObjectError: NoSuchBucket, or BucketNotEmpty.
        """

        def delete(db: sqlite3.Connection) -> Iterable[str]:
            rows.find_bucket(db, name)
            if db.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (name,)).fetchone():
                raise ObjectError(
                    "BucketNotEmpty",
                    "The bucket you tried to delete is not empty",
                    bucket=name,
                )
            db.execute("DELETE FROM buckets WHERE name = ?", (name,))
            return self.uploads.forget_all(db, name)

        self.blobs.remove(self.database.write(delete))

    def tag_bucket(self, name: str, tags: Mapping[str, str]) -> None:
        """Replace a bucket's tags.

        Raises:
            ObjectError: NoSuchBucket.
        """
        self.database.write(lambda db: rows.tag_bucket(db, name, tags))

    # -- objects ------------------------------------------------------------------------------

    def put(
        self,
        bucket: str,
        key: str,
        source: Source,
        *,
        content_type: str = DEFAULT_CONTENT_TYPE,
        metadata: Mapping[str, str] | None = None,
        condition: Condition = ALWAYS,
    ) -> ObjectInfo:
        """Store an object from bytes, from chunks of bytes or from an open file.

        Raises:
            ObjectError: NoSuchBucket, PreconditionFailed, InsufficientStorage …
        """
        properties = Properties(content_type=content_type, metadata=dict(metadata or {}))
        with self.writer(bucket, key) as writer:
            for chunk in _chunks(source):
                writer.write(chunk)
            return self.commit(writer, bucket, key, properties, condition)

    def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        *,
        content_type: str = DEFAULT_CONTENT_TYPE,
        metadata: Mapping[str, str] | None = None,
        condition: Condition = ALWAYS,
    ) -> ObjectInfo:
        """Store a copy of a file, sharing its blocks where the file system can.

        Raises:
            ObjectError: NoSuchBucket, PreconditionFailed, InsufficientStorage …
        """
        properties = Properties(content_type=content_type, metadata=dict(metadata or {}))
        with path.open("rb") as source, self.writer(bucket, key) as writer:
            if share_blocks(source.fileno(), writer.descriptor):
                writer.adopt()
            else:
                for chunk in _chunks(source):
                    writer.write(chunk)
            return self.commit(writer, bucket, key, properties, condition)

    def writer(self, bucket: str, key: str) -> BlobWriter:
        """A file for an object's bytes, for `commit`; close it in any case.

        Raises:
            ObjectError: NoSuchBucket, or the key cannot be one.
        """
        raw = names.encode_key(key)
        self.head_bucket(bucket)
        return self.blobs.create(bucket, raw)

    def commit(
        self,
        writer: BlobWriter,
        bucket: str,
        key: str,
        properties: Properties,
        condition: Condition = ALWAYS,
    ) -> ObjectInfo:
        """Make the written bytes the object; when this returns it is on the disk.

        Raises:
            ObjectError: NoSuchBucket, PreconditionFailed, InsufficientStorage …
        """
        writer.sync()
        info = ObjectInfo(
            bucket, key, writer.size, writer.md5, time.time(), properties, writer.name
        )
        replaced = self.database.write(lambda db: rows.insert_object(db, info, condition))
        writer.keep()
        self.blobs.remove(replaced)
        return info

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """What there is to know of an object.

        Raises:
            ObjectError: NoSuchBucket, or NoSuchKey.
        """
        raw = names.encode_key(key)
        with self.database.reading() as db:
            info = rows.find_object(db, bucket, raw)
            if info is None:
                rows.find_bucket(db, bucket)
                raise ObjectError.no_key(bucket, key)
            return info

    def open(self, bucket: str, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """An object's bytes, or `length` of them from `start` on; close it.

        Raises:
            ObjectError: NoSuchBucket, or NoSuchKey.
        """
        _, file = self.open_with_info(bucket, key)
        if start == 0 and length is None:
            return file
        return io.BufferedReader(Slice(file, start, length))

    def open_with_info(self, bucket: str, key: str) -> tuple[ObjectInfo, BinaryIO]:
        """An object and its bytes, which belong together even while it is being replaced.

        Raises:
            ObjectError: NoSuchBucket, NoSuchKey, or the store is damaged.
        """
        missing = ""
        while True:
            info = self.head(bucket, key)
            try:
                return info, self.blobs.path(info.blob).open("rb")
            except FileNotFoundError as error:  # replaced since we looked, or lost
                if info.blob == missing:
                    raise ObjectError(
                        "InternalError",
                        f"The file of this object is gone from the store: {info.blob}.",
                        bucket=bucket,
                        key=key,
                    ) from error
                missing = info.blob

    def path(self, bucket: str, key: str) -> Path:
        """The file that holds an object's bytes: to read, clone or copy, never to write.

        It is gone once the object is replaced or deleted.

        Raises:
            ObjectError: NoSuchBucket, or NoSuchKey.
        """
        return self.blobs.path(self.head(bucket, key).blob)

    def copy(
        self,
        source: ObjectInfo,
        bucket: str,
        key: str,
        properties: Properties | None = None,
        condition: Condition = ALWAYS,
    ) -> ObjectInfo:
        """Copy an object as it was looked up; both share the bytes.

        `properties` replace the source's. The copy's ETag is the MD5 of its bytes.

        Raises:
            ObjectError: the source has changed since, NoSuchBucket, PreconditionFailed …
        """
        raw = names.encode_key(key)
        kept = properties or dataclasses.replace(source.properties, part_sizes=())
        etag = source.etag if "-" not in source.etag else self._md5(source)
        info = ObjectInfo(bucket, key, source.size, etag, time.time(), kept, source.blob)

        def insert(db: sqlite3.Connection) -> list[str]:
            now = rows.find_object(db, source.bucket, source.key.encode())
            if now is None or now.blob != source.blob:
                raise ObjectError(
                    "OperationAborted",
                    "The object was replaced while it was being copied; copy it again.",
                )
            return rows.insert_object(db, info, condition)

        assert raw == key.encode()
        self.blobs.remove(self.database.write(insert))
        return info

    def retag(self, bucket: str, key: str, tags: Mapping[str, str]) -> None:
        """Replace an object's tags.

        Raises:
            ObjectError: NoSuchBucket, or NoSuchKey.
        """
        raw = names.encode_key(key)

        def update(db: sqlite3.Connection) -> None:
            info = rows.find_object(db, bucket, raw)
            if info is None:
                rows.find_bucket(db, bucket)
                raise ObjectError.no_key(bucket, key)
            properties = dataclasses.replace(info.properties, tags=dict(tags))
            db.execute(
                "UPDATE objects SET properties = ? WHERE bucket = ? AND key = ?",
                (properties.to_json(), bucket, raw),
            )

        self.database.write(update)

    def delete(self, bucket: str, key: str, condition: Condition = ALWAYS) -> None:
        """Delete an object; one that is not there is no error, as in S3.

        Raises:
            ObjectError: NoSuchBucket, or PreconditionFailed.
        """
        raw = names.encode_key(key)
        work = lambda db: rows.delete_object(db, bucket, raw, condition)  # noqa: E731
        self.blobs.remove(self.database.write(work))

    def delete_many(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects in one commit.

        Raises:
            ObjectError: NoSuchBucket; then nothing is deleted.
        """
        encoded = [names.encode_key(key) for key in keys]

        def delete(db: sqlite3.Connection) -> list[str]:
            rows.find_bucket(db, bucket)
            return [b for raw in encoded for b in rows.delete_object(db, bucket, raw, ALWAYS)]

        self.blobs.remove(self.database.write(delete))

    def list(
        self,
        bucket: str,
        prefix: str = "",
        *,
        delimiter: str = "",
        after: str = "",
        limit: int = 1000,
    ) -> Listing:
        """One page of the objects whose keys begin with `prefix` and come after `after`.

        Raises:
            ObjectError: NoSuchBucket.
        """
        with self.database.reading() as db:
            rows.find_bucket(db, bucket)
            return listing.list_objects(db, bucket, prefix, delimiter, after, limit)

    def iterate(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix`, page by page.

        Raises:
            ObjectError: NoSuchBucket.
        """
        after: str | None = ""
        while after is not None:
            page = self.list(bucket, prefix, after=after)
            yield from page.objects
            after = page.next

    def sweep(self) -> int:
        """Delete files that killed processes left; returns how many. Safe beside writers."""
        with (self.folder / "sweep.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody else is at it
                return 0
            return self.blobs.sweep(self._is_named)

    def _is_named(self, blob: str) -> bool:
        with self.database.reading() as db:
            return rows.is_named(db, blob)

    def _md5(self, info: ObjectInfo) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        _, file = self.open_with_info(info.bucket, info.key)
        with file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()


def _chunks(source: Source) -> Iterator[bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        yield bytes(source)
    elif hasattr(source, "read"):
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
    else:
        yield from source
