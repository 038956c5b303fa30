"""Rows of the store's database and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from houndsight.jobs.objects.errors import ObjectError
from houndsight.jobs.objects.records import (
    BucketInfo,
    Condition,
    ObjectInfo,
    PartInfo,
    Properties,
    UploadInfo,
)

__all__ = [
    "delete_object",
    "find_bucket",
    "find_object",
    "find_upload",
    "insert_object",
    "is_named",
    "object_from",
    "part_from",
    "tag_bucket",
    "unnamed",
    "upload_from",
]

OBJECT_COLUMNS = "bucket, key, size, etag, modified, properties, blob"
UPLOAD_COLUMNS = "id, bucket, key, created, properties, checksum, blob, part_size"
PART_COLUMNS = "number, size, etag, modified, blob, offset, checksums"
Row = tuple[Any, ...]


def object_from(row: Row) -> ObjectInfo:
    """From `OBJECT_COLUMNS`."""
    bucket, key, size, etag, modified, properties, blob = row
    return ObjectInfo(
        bucket, key.decode(), size, etag, modified, Properties.from_json(properties), blob
    )


def upload_from(row: Row) -> UploadInfo:
    """From `UPLOAD_COLUMNS`."""
    identity, bucket, key, created, properties, checksum, blob, part_size = row
    return UploadInfo(
        identity,
        bucket,
        key.decode(),
        created,
        Properties.from_json(properties),
        checksum,
        blob,
        part_size,
    )


def part_from(row: Row) -> PartInfo:
    """From `PART_COLUMNS`."""
    number, size, etag, modified, blob, offset, checksums = row
    return PartInfo(number, size, etag, modified, blob, offset, json.loads(checksums))


def find_bucket(db: sqlite3.Connection, name: str) -> BucketInfo:
    """The bucket.

    Raises:
        ObjectError: NoSuchBucket.
    """
    query = "SELECT name, created, region, tags FROM buckets WHERE name = ?"
    row = db.execute(query, (name,)).fetchone()
    if row is None:
        raise ObjectError.no_bucket(name)
    return BucketInfo(row[0], row[1], row[2], json.loads(row[3]))


def find_object(db: sqlite3.Connection, bucket: str, key: bytes) -> ObjectInfo | None:
    """The object, if there is one."""
    query = f"SELECT {OBJECT_COLUMNS} FROM objects WHERE bucket = ? AND key = ?"
    row = db.execute(query, (bucket, key)).fetchone()
    return None if row is None else object_from(row)


def find_upload(db: sqlite3.Connection, identity: str, bucket: str, key: bytes) -> UploadInfo:
    """The upload.

    Raises:
        ObjectError: NoSuchUpload, also when it is of another key.
    """
    query = f"SELECT {UPLOAD_COLUMNS} FROM uploads WHERE id = ? AND bucket = ? AND key = ?"
    row = db.execute(query, (identity, bucket, key)).fetchone()
    if row is None:
        find_bucket(db, bucket)
        raise ObjectError.no_upload()
    return upload_from(row)


def insert_object(db: sqlite3.Connection, info: ObjectInfo, condition: Condition) -> list[str]:
    """Put the object in place of what stands there; returns files that nothing names any more.

    Raises:
        ObjectError: NoSuchBucket, PreconditionFailed, or NoSuchKey where `condition` wants one.
    """
    find_bucket(db, info.bucket)
    key = info.key.encode()
    old = find_object(db, info.bucket, key)
    check_condition(condition, old, info.bucket, info.key)
    db.execute(
        f"INSERT OR REPLACE INTO objects ({OBJECT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            info.bucket,
            key,
            info.size,
            info.etag,
            info.modified,
            info.properties.to_json(),
            info.blob,
        ),
    )
    return unnamed(db, [old.blob] if old else [])


def check_condition(condition: Condition, old: ObjectInfo | None, bucket: str, key: str) -> None:
    """Refuse a write whose condition does not hold.

    Raises:
        ObjectError: PreconditionFailed, or NoSuchKey where there is nothing to match.
    """
    if condition.if_none_match and old is not None:
        raise ObjectError.refused("If-None-Match")
    if condition.if_match is None:
        return
    if old is None:
        raise ObjectError.no_key(bucket, key)
    if condition.if_match not in ("*", old.etag):
        raise ObjectError.refused("If-Match")


def is_named(db: sqlite3.Connection, blob: str) -> bool:
    """Whether an object, an upload or a part uses the file."""
    query = " UNION ALL ".join(
        f"SELECT 1 FROM {table} WHERE blob = :blob" for table in ("objects", "uploads", "parts")
    )
    return bool(db.execute(f"SELECT EXISTS ({query})", {"blob": blob}).fetchone()[0])


def unnamed(db: sqlite3.Connection, blobs: Iterable[str]) -> list[str]:
    """Those of the files that nothing uses."""
    return [blob for blob in dict.fromkeys(blobs) if not is_named(db, blob)]


def delete_object(
    db: sqlite3.Connection, bucket: str, key: bytes, condition: Condition
) -> list[str]:
    """Delete the object if it is there; returns files that nothing names any more.

    Raises:
        ObjectError: NoSuchBucket, or PreconditionFailed.
    """
    old = find_object(db, bucket, key)
    if old is None:
        find_bucket(db, bucket)
    check_condition(condition, old, bucket, key.decode())
    db.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
    return unnamed(db, [old.blob] if old else [])


def tag_bucket(db: sqlite3.Connection, name: str, tags: Mapping[str, str]) -> None:
    """Replace a bucket's tags.

    Raises:
        ObjectError: NoSuchBucket.
    """
    find_bucket(db, name)
    db.execute("UPDATE buckets SET tags = ? WHERE name = ?", (json.dumps(dict(tags)), name))
