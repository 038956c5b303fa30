"""Multipart uploads: parts that come in any order, several at a time, and become one object.

Clients send parts of one size and a shorter last one. So the first part's size says where each
belongs, and parts are written straight to their places in one file; completing the upload then
copies nothing. A part that does not fit this (longer, sent again, sent twice at once) gets a
file of its own, and completing copies the parts together.
"""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate, pairwise

from houndsight.jobs.objects import names, rows
from houndsight.jobs.objects.blobs import BlobFolder, BlobWriter, copy_range, lock_range
from houndsight.jobs.objects.database import Database
from houndsight.jobs.objects.errors import ObjectError
from houndsight.jobs.objects.records import (
    Condition,
    ObjectInfo,
    PartInfo,
    Properties,
    UploadInfo,
)

__all__ = ["MINIMUM_PART_BYTES", "GivenPart", "Uploads"]

MAX_PARTS = 10_000
MINIMUM_PART_BYTES = 5 << 20
"""S3's least size of every part but the last."""


@dataclass(frozen=True)
class GivenPart:
    """A part as the client names it when it completes an upload."""

    number: int
    etag: str


class Uploads:
    """The multipart uploads of a store."""

    def __init__(self, database: Database, blobs: BlobFolder) -> None:
        self._database, self._blobs = database, blobs
        self.minimum_part_bytes = MINIMUM_PART_BYTES

    def create(
        self, bucket: str, key: str, properties: Properties, checksum: str = ""
    ) -> UploadInfo:
        """Begin an upload.

        Raises:
            ObjectError: NoSuchBucket.
        """
        raw = names.encode_key(key)
        identity = secrets.token_urlsafe(48)
        blob = self._blobs.new_name(bucket, raw)
        info = UploadInfo(identity, bucket, key, time.time(), properties, checksum, blob)

        def insert(db: sqlite3.Connection) -> None:
            rows.find_bucket(db, bucket)
            db.execute(
                f"INSERT INTO uploads ({rows.UPLOAD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (identity, bucket, raw, info.created, properties.to_json(), checksum, blob),
            )

        self._database.write(insert)
        return info

    def get(self, bucket: str, key: str, identity: str) -> UploadInfo:
        """An upload.

        Raises:
            ObjectError: NoSuchUpload.
        """
        with self._database.reading() as db:
            return rows.find_upload(db, identity, bucket, names.encode_key(key))

    def list(
        self, bucket: str, prefix: str = "", *, after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> tuple[Sequence[UploadInfo], bool]:
        """Uploads by key and id behind `after`, and whether there are more.

        Raises:
            ObjectError: NoSuchBucket.
        """
        start = max((after[0].encode(), after[1]), (prefix.encode(), ""))
        query = (
            f"SELECT {rows.UPLOAD_COLUMNS} FROM uploads WHERE bucket = ? AND (key, id) > (?, ?)"
            " ORDER BY key, id LIMIT ?"
        )
        with self._database.reading() as db:
            rows.find_bucket(db, bucket)
            found = db.execute(query, (bucket, *start, limit + 1)).fetchall()
        uploads = [rows.upload_from(row) for row in found]
        matching = [upload for upload in uploads if upload.key.startswith(prefix)]
        return matching[:limit], len(matching) > limit

    def parts(
        self, upload: UploadInfo, *, after: int = 0, limit: int = 1000
    ) -> tuple[Sequence[PartInfo], bool]:
        """Parts by number behind `after`, and whether there are more."""
        query = (
            f"SELECT {rows.PART_COLUMNS} FROM parts WHERE upload = ? AND number > ?"
            " ORDER BY number LIMIT ?"
        )
        with self._database.reading() as db:
            found = db.execute(query, (upload.id, after, limit + 1)).fetchall()
        return [rows.part_from(row) for row in found[:limit]], len(found) > limit

    # -- parts --------------------------------------------------------------------------------

    def part_writer(self, upload: UploadInfo, number: int, size: int | None) -> BlobWriter:
        """Where to write part `number`, of `size` bytes where that is known; close it.

        Raises:
            ObjectError: the number is outside 1 to 10,000, or NoSuchUpload.
        """
        if not 1 <= number <= MAX_PARTS:
            raise ObjectError(
                "InvalidArgument",
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        writer = self._in_place(upload, number, size) if size else None
        return writer or self._blobs.create(upload.bucket, upload.key.encode())

    def commit_part(
        self,
        upload: UploadInfo,
        number: int,
        writer: BlobWriter,
        checksums: Mapping[str, str] | None = None,
    ) -> PartInfo:
        """Make the written bytes the part; when this returns it is on the disk.

        Raises:
            ObjectError: NoSuchUpload: it was completed or aborted meanwhile.
        """
        writer.sync()
        part = PartInfo(
            number,
            writer.size,
            writer.md5,
            time.time(),
            writer.name,
            writer.offset,
            dict(checksums or {}),
        )

        def insert(db: sqlite3.Connection) -> list[str]:
            rows.find_upload(db, upload.id, upload.bucket, upload.key.encode())
            query = "SELECT blob FROM parts WHERE upload = ? AND number = ?"
            old = db.execute(query, (upload.id, number)).fetchone()
            values = (*dataclasses.astuple(part)[:6], json.dumps(part.checksums))
            db.execute(
                f"INSERT OR REPLACE INTO parts (upload, {rows.PART_COLUMNS})"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (upload.id, *values),
            )
            return rows.unnamed(db, old or ())

        replaced = self._database.write(insert)
        writer.keep()
        self._blobs.remove(replaced)
        return part

    def _in_place(self, upload: UploadInfo, number: int, size: int) -> BlobWriter | None:
        """A writer to the part's place in the common file, if it has one that nobody holds."""
        part_size = upload.part_size or self._settle_part_size(upload, size)
        if size > part_size:
            return None
        offset = (number - 1) * part_size
        descriptor = self._blobs.open_shared(upload.blob)
        try:
            is_free = lock_range(descriptor, offset, part_size)
            is_free = is_free and not self._has_part(upload, number)
        except BaseException:
            os.close(descriptor)
            raise
        if not is_free:
            os.close(descriptor)
            return None
        path = self._blobs.path(upload.blob)
        return BlobWriter(descriptor, path, offset=offset, shared=True, room=part_size)

    def _settle_part_size(self, upload: UploadInfo, size: int) -> int:
        def settle(db: sqlite3.Connection) -> int:
            rows.find_upload(db, upload.id, upload.bucket, upload.key.encode())
            statement = "UPDATE uploads SET part_size = ? WHERE id = ? AND part_size = 0"
            db.execute(statement, (size, upload.id))
            query = "SELECT part_size FROM uploads WHERE id = ?"
            return int(db.execute(query, (upload.id,)).fetchone()[0])

        return self._database.write(settle)

    def _has_part(self, upload: UploadInfo, number: int) -> bool:
        """Whether the part was sent before.

        Raises:
            ObjectError: NoSuchUpload: the common file may be an object by now.
        """
        with self._database.reading() as db:
            rows.find_upload(db, upload.id, upload.bucket, upload.key.encode())
            query = "SELECT 1 FROM parts WHERE upload = ? AND number = ?"
            return db.execute(query, (upload.id, number)).fetchone() is not None

    # -- the end ------------------------------------------------------------------------------

    def abort(self, upload: UploadInfo) -> None:
        """Forget an upload and its parts.

        Raises:
            ObjectError: NoSuchUpload.
        """

        def delete(db: sqlite3.Connection) -> list[str]:
            rows.find_upload(db, upload.id, upload.bucket, upload.key.encode())
            return _forget(db, upload)

        self._blobs.remove(self._database.write(delete))

    def forget_all(self, db: sqlite3.Connection, bucket: str) -> Iterable[str]:
        """Forget every upload of a bucket; returns files that nothing names any more."""
        query = f"SELECT {rows.UPLOAD_COLUMNS} FROM uploads WHERE bucket = ?"
        found = db.execute(query, (bucket,)).fetchall()
        return [blob for row in found for blob in _forget(db, rows.upload_from(row))]

    def chosen(self, upload: UploadInfo, given: Sequence[GivenPart]) -> Sequence[PartInfo]:
        """The parts that the client names, checked as S3 checks them.

        Raises:
            ObjectError: InvalidPartOrder, InvalidPart, EntityTooSmall, MalformedXML.
        """
        if not given:
            raise ObjectError(
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our"
                " published schema",
            )
        if any(a.number >= b.number for a, b in pairwise(given)):
            raise ObjectError(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. Parts must be ordered by part"
                " number.",
            )
        stored, _ = self.parts(upload, limit=MAX_PARTS)
        by_number = {part.number: part for part in stored}
        parts = [_matching(by_number.get(part.number), part.etag) for part in given]
        if any(part.size < self.minimum_part_bytes for part in parts[:-1]):
            raise ObjectError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
            )
        return parts

    def complete(
        self,
        upload: UploadInfo,
        parts: Sequence[PartInfo],
        properties: Properties,
        condition: Condition,
    ) -> ObjectInfo:
        """Make the parts one object; when this returns it is on the disk.

        `properties` are the upload's with the checksums of the whole.

        Raises:
            ObjectError: NoSuchUpload, PreconditionFailed, or a part changed meanwhile.
        """
        sizes = tuple(part.size for part in parts)
        properties = dataclasses.replace(properties, part_sizes=sizes)
        with ExitStack() as stack:
            writer = stack.enter_context(self._joined(upload, parts))
            writer.sync()
            info = ObjectInfo(
                upload.bucket,
                upload.key,
                sum(sizes),
                etag_of_parts([part.etag for part in parts]),
                time.time(),
                properties,
                writer.name,
            )
            work = lambda db: _finish(db, upload, parts, info, condition)  # noqa: E731
            replaced = self._database.write(work)
            writer.keep()
        self._blobs.remove(replaced)
        return info

    def _joined(self, upload: UploadInfo, parts: Sequence[PartInfo]) -> BlobWriter:
        """The file with all parts: the common one if it is just that, else a copy."""
        descriptor = self._blobs.open_shared(upload.blob)
        if lock_range(descriptor, 0, 0) and self._stand_in_place(upload, parts):
            os.ftruncate(descriptor, sum(part.size for part in parts))
            return BlobWriter(descriptor, self._blobs.path(upload.blob), shared=True)
        os.close(descriptor)
        writer = self._blobs.create(upload.bucket, upload.key.encode())
        try:
            self._copy_parts(parts, writer)
        except BaseException:
            writer.close()
            raise
        return writer

    def _stand_in_place(self, upload: UploadInfo, parts: Sequence[PartInfo]) -> bool:
        """Whether the common file holds these parts, one behind the other, and no others."""
        stored, _ = self.parts(upload, limit=MAX_PARTS)
        if [part for part in stored if part.blob == upload.blob] != list(parts):
            return False
        return [part.offset for part in parts] == [
            end - part.size
            for part, end in zip(parts, accumulate(p.size for p in parts), strict=True)
        ]

    def _copy_parts(self, parts: Sequence[PartInfo], writer: BlobWriter) -> None:
        at = 0
        for part in parts:
            try:
                source = os.open(self._blobs.path(part.blob), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise ObjectError.no_upload() from error
            try:
                copy_range(source, writer.descriptor, part.offset, part.size, at)
            finally:
                os.close(source)
            at += part.size


def etag_of_parts(etags: Sequence[str]) -> str:
    """S3's ETag of a multipart object: the MD5 of the parts' MD5s, and how many."""
    raw = b"".join(binascii.unhexlify(etag) for etag in etags)
    return f"{hashlib.md5(raw, usedforsecurity=False).hexdigest()}-{len(etags)}"


def _matching(part: PartInfo | None, etag: str) -> PartInfo:
    if part is None or part.etag != etag.strip('"'):
        raise ObjectError(
            "InvalidPart",
            "One or more of the specified parts could not be found. The part may not have been"
            " uploaded, or the specified entity tag may not match the part's entity tag.",
        )
    return part


def _finish(
    db: sqlite3.Connection,
    upload: UploadInfo,
    parts: Sequence[PartInfo],
    info: ObjectInfo,
    condition: Condition,
) -> list[str]:
    """Put the object in place of the upload, if its parts are still those that were joined."""
    rows.find_upload(db, upload.id, upload.bucket, upload.key.encode())
    query = "SELECT number, blob, etag FROM parts WHERE upload = ?"
    now = {row[0]: row[1:] for row in db.execute(query, (upload.id,))}
    if any(now.get(part.number) != (part.blob, part.etag) for part in parts):
        raise ObjectError(
            "OperationAborted", "A part was sent again while the upload was being completed."
        )
    replaced = rows.insert_object(db, info, condition)
    return [*replaced, *_forget(db, upload)]


def _forget(db: sqlite3.Connection, upload: UploadInfo) -> list[str]:
    blobs = [row[0] for row in db.execute("SELECT blob FROM parts WHERE upload = ?", (upload.id,))]
    db.execute("DELETE FROM parts WHERE upload = ?", (upload.id,))
    db.execute("DELETE FROM uploads WHERE id = ?", (upload.id,))
    return rows.unnamed(db, [upload.blob, *blobs])
