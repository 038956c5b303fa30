"""The store's SQLite file: what there is, shared by threads and by processes.

It is in WAL mode with `synchronous=FULL`, so that a commit that returned survives a power cut.
Threads that write at the same moment share one commit and so one flush of the disk: each leaves
its work in a line, and whoever gets the lock first does all of it (group commit). One failing
work is rolled back alone, to its savepoint.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from houndsight.jobs.objects.errors import ObjectError

__all__ = ["Database"]

T = TypeVar("T")
VERSION = 1
BUSY_TIMEOUT_S = 30.0
MAX_BATCH = 256
SCHEMA = """
CREATE TABLE buckets (
    name TEXT PRIMARY KEY, created REAL NOT NULL, region TEXT NOT NULL, tags TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL,
    etag TEXT NOT NULL, modified REAL NOT NULL, properties TEXT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX objects_blob ON objects (blob);
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, created REAL NOT NULL,
    properties TEXT NOT NULL, checksum TEXT NOT NULL, blob TEXT NOT NULL,
    part_size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads_key ON uploads (bucket, key, id);
CREATE INDEX uploads_blob ON uploads (blob);
CREATE TABLE parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, blob TEXT NOT NULL, offset INTEGER NOT NULL, checksums TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE INDEX parts_blob ON parts (blob);
"""


class _Turn(Generic[T]):
    """One thread's work, and what became of it."""

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.done = False
        self.result: T
        self.error: BaseException | None = None

    def take(self, connection: sqlite3.Connection) -> None:
        """Do the work, or leave the database as it was before it."""
        connection.execute("SAVEPOINT turn")
        try:
            self.result = self.work(connection)
        except Exception as error:
            self.error = error
            connection.execute("ROLLBACK TO turn")
        connection.execute("RELEASE turn")


class Database:
    """Connections to the file, and the line of those who write."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it.

        Raises:
            ObjectError: it is no such file, or a newer version's.
        """
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._all: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[_Turn[Any]] = deque()
        try:
            _use_wal(self)
            self.write(_prepare)
        except sqlite3.DatabaseError as error:
            self.close()
            raise ObjectError(
                "InternalError", f"{path} is not the index of an object store: {error}."
            ) from error
        except ObjectError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread, back in the pool afterwards."""
        self._after_fork()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in a transaction and return what it returns, once it is on the disk.

        Raises:
            ObjectError: the disk is full, or another process has held the file for 30 s.
        """
        self._after_fork()
        turn = _Turn(work)
        self._waiting.append(turn)
        with self._lock:
            while not turn.done:
                self._commit_all()
        if turn.error is not None:
            raise turn.error
        return turn.result

    def close(self) -> None:
        """Close every connection; the pool starts again with the next call."""
        self._after_fork()
        self._idle.clear()
        while self._all:
            self._all.pop().close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._all.append(connection)
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _commit_all(self) -> None:
        """Commit the works that wait, those of the threads behind this one too."""
        batch: list[_Turn[Any]] = []
        while self._waiting and len(batch) < MAX_BATCH:
            batch.append(self._waiting.popleft())
        try:
            with self.reading() as connection:
                _commit(connection, batch)
        except Exception as error:
            for turn in batch:
                turn.error = _explained(error)
        for turn in batch:
            turn.done = True

    def _after_fork(self) -> None:
        """Connections must not cross a fork: keep the parent's, unused, and begin anew."""
        if self._pid == os.getpid():
            return
        self._inherited, self._idle, self._all = self._all, [], []
        self._waiting, self._lock = deque(), threading.Lock()
        self._pid = os.getpid()


def _commit(connection: sqlite3.Connection, batch: list[_Turn[Any]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for turn in batch:
            turn.take(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _use_wal(database: Database) -> None:
    """Switch to WAL; two processes that make the file at once must take turns."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            with database.reading() as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ObjectError(
            "InternalError",
            f"The object store was written by a newer Houndsight (format {version}, this one reads"
            f" {VERSION}): update Houndsight.",
        )
    if version == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")


def _explained(error: Exception) -> Exception:
    text = str(error)
    if isinstance(error, sqlite3.OperationalError):
        if "full" in text or "disk I/O" in text:
            return ObjectError("InsufficientStorage", f"The store's disk takes no more: {text}.")
        if "locked" in text:
            return ObjectError("SlowDown", "Please reduce your request rate.")
    return error
