"""Listing a bucket page by page, in the order of the keys' UTF-8 bytes.

With a delimiter, keys that share what stands between the prefix and the delimiter become one
entry. Such a group is stepped over by asking the index for the first key behind it, so that a
page costs about as many look-ups as it has entries, however many objects the groups hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from houndsight.jobs.objects.names import prefix_end
from houndsight.jobs.objects.records import Listing, ObjectInfo
from houndsight.jobs.objects.rows import OBJECT_COLUMNS, Row, object_from

__all__ = ["list_objects"]

BATCH = 1000


@dataclass(frozen=True)
class _Question:
    bucket: str
    prefix: bytes
    delimiter: bytes

    def group(self, key: bytes) -> bytes | None:
        """The common prefix that `key` belongs to, or None when it stands for itself."""
        if not self.delimiter or not key.startswith(self.prefix):
            return None
        at = key.find(self.delimiter, len(self.prefix))
        return None if at < 0 else key[: at + len(self.delimiter)]


def list_objects(
    db: sqlite3.Connection, bucket: str, prefix: str, delimiter: str, after: str, limit: int
) -> Listing:
    """One page: the first `limit` entries behind `after`, objects and groups counted alike."""
    question = _Question(bucket, prefix.encode(), delimiter.encode())
    objects: list[ObjectInfo] = []
    prefixes: list[str] = []
    last: str | None = None
    for entry in _entries(db, question, after.encode(), limit):
        if len(objects) + len(prefixes) == limit:
            return Listing(objects, prefixes, last)
        if isinstance(entry, bytes):
            last = entry.decode()
            prefixes.append(last)
        else:
            objects.append(object_from(entry))
            last = objects[-1].key
    return Listing(objects, prefixes, None)


def _entries(
    db: sqlite3.Connection, question: _Question, after: bytes, limit: int
) -> Iterator[bytes | Row]:
    """Groups (as bytes) and objects (as rows) behind `after`."""
    group = question.group(after)
    start = _behind(after) if group is None else prefix_end(group)
    start = None if start is None else max(start, question.prefix)
    while start is not None:
        rows = _rows(db, question, start, min(limit + 1, BATCH))
        start, group = None, None
        for row in rows:
            key = row[1]
            if group is not None and key.startswith(group):
                start = prefix_end(group)
                continue
            group = question.group(key)
            yield row if group is None else group
            start = _behind(key) if group is None else prefix_end(group)


def _rows(db: sqlite3.Connection, question: _Question, start: bytes, limit: int) -> list[Row]:
    query = f"SELECT {OBJECT_COLUMNS} FROM objects WHERE bucket = ? AND key >= ?"
    values: list[object] = [question.bucket, start]
    end = prefix_end(question.prefix)
    if end is not None:
        query += " AND key < ?"
        values.append(end)
    return db.execute(f"{query} ORDER BY key LIMIT ?", (*values, limit)).fetchall()


def _behind(key: bytes) -> bytes:
    """The first possible key after `key`."""
    return key + b"\0" if key else b""
