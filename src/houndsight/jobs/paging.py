"""Keyset paging: a page begins after the last row of the one before, by the sort key and name."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from houndsight.jobs.schema import RECORDS
from houndsight.jobs.states import JobsError

__all__ = ["Page", "Query", "after", "page_of", "read_token"]

T = TypeVar("T")
COLUMNS = {
    "CreationTime": "created",
    "LastModifiedTime": "modified",
    "Name": "name",
    "Status": "status",
}


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of what matches, and how to go on; no token: that was all."""

    records: Sequence[T]
    next_token: str | None


@dataclass(frozen=True)
class Query:
    """The order of a listing."""

    sort_by: str
    descending: bool

    def __post_init__(self) -> None:
        if self.sort_by not in COLUMNS:
            raise JobsError(f"Cannot sort by {self.sort_by!r}; choose from {', '.join(COLUMNS)}.")

    @property
    def columns(self) -> tuple[sa.ColumnElement[Any], ...]:
        """What it is sorted by; the name last, so that no two rows are equal."""
        key = COLUMNS[self.sort_by]
        return (RECORDS.c.name,) if key == "name" else (RECORDS.c[key], RECORDS.c.name)

    @property
    def order(self) -> list[sa.ColumnElement[Any]]:
        """For ORDER BY."""
        return [c.desc() if self.descending else c.asc() for c in self.columns]


def after(query: Query, key: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Rows that come behind `key` in the query's order."""
    columns, values = sa.tuple_(*query.columns), sa.tuple_(*(sa.literal(v) for v in key))
    return columns < values if query.descending else columns > values


def page_of(
    query: Query,
    rows: Sequence[Mapping[str, Any]],
    limit: int,
    make: Callable[[Mapping[str, Any]], T],
) -> Page[T]:
    """A page of at most `limit` from rows fetched with `limit + 1`."""
    token = None
    if len(rows) > limit and limit > 0:
        key = [rows[limit - 1][str(column.name)] for column in query.columns]
        text = json.dumps([query.sort_by, query.descending, key])
        token = base64.urlsafe_b64encode(text.encode()).decode()
    return Page([make(row) for row in rows[:limit]], token)


def read_token(query: Query, token: str) -> list[Any]:
    """The key that a token holds.

    Raises:
        JobsError: it was not made by this listing.
    """
    try:
        sort_by, descending, key = json.loads(base64.urlsafe_b64decode(token.encode()))
        kinds = [float if isinstance(c.type, sa.Float) else str for c in query.columns]
        whole = [type(part) for part in key] == kinds
        "".join(map(str, key)).encode()  # half a surrogate pair is nothing that a database takes
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise JobsError(
            "The token to continue the listing is damaged: list from the start."
        ) from error
    if (sort_by, descending) != (query.sort_by, query.descending) or not whole:
        raise JobsError(
            "The token to continue the listing belongs to another order: list from the start."
        )
    return list(key)
