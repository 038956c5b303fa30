"""The store of jobs, models and endpoints: records by kind and name, their tags, their changes.

SQLite in WAL mode, or another database by `HOUNDSIGHT_PLATFORM_DATABASE`. The control plane is
its only writer; what a job's supervisor knows stands in the job's folder, and is copied here.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from houndsight.jobs.paging import Page, Query, after, page_of, read_token
from houndsight.jobs.schema import RECORDS, TAGS, VARIABLE, connect, prepare
from houndsight.jobs.states import ExistsError, Kind, NotFoundError, StateError, check_move

__all__ = ["JobStore", "Record"]

TICK_S = 1e-6
"""The least by which a change is later than the one before, so that none is overlooked."""
FIND = sa.select(RECORDS).where(
    RECORDS.c.kind == sa.bindparam("kind"), RECORDS.c.name == sa.bindparam("name")
)
"""Made once: a Describe spends more on making a statement than on asking the database."""
LOOK_AGAIN_S = 2.0
"""How often a waiter looks by itself: another process may write, too."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One thing the platform keeps. Times are epoch seconds."""

    kind: Kind
    name: str
    arn: str
    status: str
    created: float = field(default_factory=time.time)
    modified: float = 0.0
    request: Mapping[str, Any] = field(default_factory=dict)
    """As the client sent it."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the platform knows of it, JSON."""
    parent: str = ""
    """The tuning job that made it."""
    handle: Mapping[str, Any] | None = None
    """What its engine finds it by."""


class JobStore:
    """Records in a database; safe to use from several threads."""

    def __init__(self, database: Path | str) -> None:
        self._engine = connect(database)
        try:
            prepare(self._engine)
        except BaseException:
            self._engine.dispose()
            raise
        self._reader = self._engine.execution_options(writes=False)
        self._one_read = self._engine.execution_options(writes=None)
        self._changed = threading.Condition()
        self._changes = 0

    @classmethod
    def open(cls, path: Path) -> JobStore:
        """The store that `HOUNDSIGHT_PLATFORM_DATABASE` names, else the SQLite file `path`."""
        return cls(os.environ.get(VARIABLE) or path)

    def close(self) -> None:
        """Let go of the database; a connection in use is closed when it comes back."""
        pool = self._engine.pool
        self._engine.dispose()
        sa.event.listen(pool, "checkin", lambda connection, _: connection.close())
        pool.dispose()

    def add(self, record: Record) -> Record:
        """Keep a new record.

        Raises:
            ExistsError: there is one of its kind and name.
        """
        modified = record.modified or record.created
        row = {**_row(record), "modified": modified}
        try:
            with self._engine.begin() as connection:
                connection.execute(RECORDS.insert().values(**row))
        except sa.exc.IntegrityError as error:
            raise ExistsError(f"There is a {record.kind.words} {record.name} already.") from error
        self._tell()
        return _record(row)

    def get(self, kind: Kind, name: str) -> Record:
        """The record of that name.

        Raises:
            NotFoundError: there is none.
        """
        with self._one_read.connect() as connection:
            return _record(self._find(connection, kind, name))

    def update(
        self,
        kind: Kind,
        name: str,
        *,
        status: str | None = None,
        detail: Mapping[str, Any] | None = None,
        request: Mapping[str, Any] | None = None,
        handle: Mapping[str, Any] | None = None,
        expected: str | None = None,
    ) -> Record:
        """Change a record; what is None stays as it is.

        Args:
            detail: replaces the whole detail.
            expected: the status it must have for this to be done.

        Raises:
            NotFoundError: there is none.
            StateError: it has not the expected status, or the new one may not follow.
        """
        with self._engine.begin() as connection:
            row = dict(self._find(connection, kind, name, lock=True))
            if expected is not None and row["status"] != expected:
                raise StateError(
                    f"{kind.words.capitalize()} {name} is {row['status']}, not {expected}."
                )
            if status is not None:
                check_move(kind, name, row["status"], status)
                row["status"] = status
            given = {"detail": detail, "request": request, "handle": handle}
            row |= {key: _dumps(value) for key, value in given.items() if value is not None}
            row["modified"] = max(time.time(), row["modified"] + TICK_S)
            connection.execute(
                RECORDS.update().where(RECORDS.c.kind == kind, RECORDS.c.name == name).values(**row)
            )
        self._tell()
        return _record(row)

    def delete(self, kind: Kind, name: str) -> None:
        """Forget a record and its tags.

        Raises:
            NotFoundError: there is none.
        """
        with self._engine.begin() as connection:
            row = self._find(connection, kind, name, lock=True)
            connection.execute(TAGS.delete().where(TAGS.c.arn == row["arn"]))
            connection.execute(
                RECORDS.delete().where(RECORDS.c.kind == kind, RECORDS.c.name == name)
            )
        self._tell()

    def list(
        self,
        kind: Kind,
        *,
        name_contains: str = "",
        status: str | Sequence[str] = "",
        parent: str | None = None,
        created_after: float | None = None,
        created_before: float | None = None,
        modified_after: float | None = None,
        modified_before: float | None = None,
        sort_by: str = "CreationTime",
        descending: bool = False,
        limit: int = 100,
        token: str | None = None,
    ) -> Page[Record]:
        """Records that match, a page at a time; each page costs the same, however many came before.

        Args:
            status: one, or several of which any will do; empty for all.
            sort_by: `CreationTime`, `Name`, `Status` or `LastModifiedTime`.
            token: `next_token` of the page before.

        Raises:
            JobsError: the token is none of this listing's, or `sort_by` is none of these.
        """
        query = Query(sort_by, descending)
        where = [RECORDS.c.kind == kind, *_between(created_after, created_before, "created")]
        where += _between(modified_after, modified_before, "modified")
        if name_contains:
            where.append(
                sa.func.lower(RECORDS.c.name).contains(name_contains.lower(), autoescape=True)
            )
        if status:
            wanted = [status] if isinstance(status, str) else list(status)
            where.append(RECORDS.c.status.in_(wanted))
        if parent is not None:
            where.append(RECORDS.c.parent == parent)
        if token:
            where.append(after(query, read_token(query, token)))
        statement = sa.select(RECORDS).where(*where).order_by(*query.order).limit(limit + 1)
        with self._reader.connect() as connection:
            rows = connection.execute(statement).mappings().all()
        return page_of(query, [dict(row) for row in rows], limit, _record)

    def count(self, kind: Kind, *, parent: str | None = None) -> dict[str, int]:
        """How many records of a kind have each status."""
        where = [RECORDS.c.kind == kind]
        if parent is not None:
            where.append(RECORDS.c.parent == parent)
        statement = (
            sa.select(RECORDS.c.status, sa.func.count()).where(*where).group_by(RECORDS.c.status)
        )
        with self._reader.connect() as connection:
            return {str(status): int(number) for status, number in connection.execute(statement)}

    def wait_changed(
        self, kind: Kind, name: str, since_modified: float, timeout_s: float
    ) -> Record:
        """The record, as soon as it is newer than `since_modified` or the time is over.

        Raises:
            NotFoundError: there is none, or it was deleted meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            seen = self._changes
            record = self.get(kind, name)
            left = deadline - time.monotonic()
            if record.modified > since_modified or left <= 0:
                return record
            with self._changed:
                self._changed.wait_for(lambda: self._changes != seen, min(left, LOOK_AGAIN_S))  # noqa: B023

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource, in the order they were given."""
        statement = (
            sa.select(TAGS.c.key, TAGS.c.value)
            .where(TAGS.c.arn == arn)
            .order_by(TAGS.c.position, TAGS.c.key)
        )
        with self._reader.connect() as connection:
            return {str(key): str(value) for key, value in connection.execute(statement)}

    def add_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add tags to a resource; those of the same key are replaced."""
        if not tags:
            return
        now = time.time()
        rows = [
            {"arn": arn, "key": key, "value": value, "position": now + number * TICK_S}
            for number, (key, value) in enumerate(tags.items())
        ]
        with self._engine.begin() as connection:
            connection.execute(TAGS.delete().where(TAGS.c.arn == arn, TAGS.c.key.in_(list(tags))))
            connection.execute(TAGS.insert(), rows)

    def delete_tags(self, arn: str, keys: Sequence[str]) -> None:
        """Take tags from a resource; keys it does not have are passed over."""
        with self._engine.begin() as connection:
            connection.execute(TAGS.delete().where(TAGS.c.arn == arn, TAGS.c.key.in_(list(keys))))

    def _find(
        self, connection: sa.Connection, kind: Kind, name: str, *, lock: bool = False
    ) -> Mapping[str, Any]:
        statement = FIND.with_for_update() if lock else FIND
        row = connection.execute(statement, {"kind": kind, "name": name}).mappings().first()
        if row is None:
            raise NotFoundError(f"There is no {kind.words} {name}.")
        return dict(row)

    def _tell(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()


def _between(low: float | None, high: float | None, column: str) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if low is not None:
        where.append(RECORDS.c[column] > low)
    if high is not None:
        where.append(RECORDS.c[column] < high)
    return where


def _row(record: Record) -> dict[str, Any]:
    return {
        "kind": record.kind.value,
        "name": record.name,
        "arn": record.arn,
        "status": record.status,
        "created": record.created,
        "modified": record.modified,
        "parent": record.parent,
        "request": _dumps(record.request),
        "detail": _dumps(record.detail),
        "handle": None if record.handle is None else _dumps(record.handle),
    }


def _record(row: Mapping[str, Any]) -> Record:
    return Record(
        kind=Kind(row["kind"]),
        name=row["name"],
        arn=row["arn"],
        status=row["status"],
        created=row["created"],
        modified=row["modified"],
        parent=row["parent"],
        request=json.loads(row["request"]),
        detail=json.loads(row["detail"]),
        handle=None if row["handle"] is None else json.loads(row["handle"]),
    )


def _dumps(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)
