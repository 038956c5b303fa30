"""Facts of photos, remembered on disk by path, size and time of change."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from houndsight.config import cache_home
from houndsight.data.photo_facts import FACTS_VERSION, PhotoFacts

__all__ = ["FactsCache", "Stamp"]

Stamp = tuple[bytes, int, int]
"""Absolute path, size in bytes and time of change in ns of a file."""

_TABLE = f"facts_{FACTS_VERSION}"
_COLUMNS = ", ".join(PhotoFacts._fields)
_AT_ONCE = 500


class FactsCache:
    """An SQLite file of facts. Several processes may use it at once.

    It is only a cache: when it is damaged it is made anew, and where none can be written
    nothing is remembered. Files of another version of the facts lie in a table of their own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_home() / "facts.sqlite"
        self._database = self._open()

    def __enter__(self) -> FactsCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def look_up(self, stamps: Sequence[Stamp]) -> dict[bytes, PhotoFacts]:
        """What is remembered of these files as they are now, by path."""
        found: dict[bytes, PhotoFacts] = {}
        for start in range(0, len(stamps), _AT_ONCE):
            wanted = {stamp[0]: stamp[1:] for stamp in stamps[start : start + _AT_ONCE]}
            marks = ",".join("?" * len(wanted))
            query = f"SELECT path, size, mtime_ns, {_COLUMNS} FROM {_TABLE} WHERE path IN ({marks})"
            for path, size, mtime_ns, *facts in self._do(query, list(wanted)):
                if wanted[path] == (size, mtime_ns):
                    found[path] = PhotoFacts(*facts)
        return found

    def remember(self, rows: Iterable[tuple[Stamp, PhotoFacts]]) -> None:
        """Keep facts, replacing older ones of the same path; on disk when this returns."""
        marks = ",".join("?" * (3 + len(PhotoFacts._fields)))
        values = [(*stamp, *facts) for stamp, facts in rows]
        if self._database is None or not values:
            return
        try:
            with self._database:
                self._database.executemany(
                    f"INSERT OR REPLACE INTO {_TABLE} VALUES ({marks})", values
                )
        except sqlite3.Error:
            self._give_up()

    def prune(self, limit_rows: int) -> int:
        """Drop the rows remembered longest ago beyond `limit_rows`; the number dropped.

        What other versions remembered goes too, and the file shrinks.
        """
        if self._database is None:
            return 0
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'facts_*'"
        with self._database:
            for (table,) in self._database.execute(query).fetchall():
                if table != _TABLE:
                    self._database.execute(f'DROP TABLE "{table}"')
            dropped = self._database.execute(
                f"DELETE FROM {_TABLE} WHERE rowid IN "
                f"(SELECT rowid FROM {_TABLE} ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
                (limit_rows,),
            ).rowcount
        self._database.execute("VACUUM")
        return dropped

    def _do(self, query: str, values: list[bytes]) -> list[tuple[Any, ...]]:
        if self._database is None:
            return []
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error:
            self._give_up()
            return []

    def _open(self) -> sqlite3.Connection | None:
        for attempt in range(2):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return self._connect()
            except sqlite3.DatabaseError as error:
                if attempt or isinstance(error, sqlite3.OperationalError):
                    return None
                self.path.unlink(missing_ok=True)  # damaged
            except OSError:
                return None
        return None

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(os.fspath(self.path), timeout=30)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} "
                f"(path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, {_COLUMNS})"
            )
        except BaseException:
            database.close()
            raise
        return database

    def _give_up(self) -> None:
        """The file cannot be used any more (disk full, removed, damaged): go on without."""
        self.close()
