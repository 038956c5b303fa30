"""The store's tables and how older databases are brought up to them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from houndsight.errors import SettingError
from houndsight.jobs.states import JobsError

__all__ = ["RECORDS", "TAGS", "VERSION", "connect", "prepare"]

VERSION = 1
VARIABLE = "HOUNDSIGHT_PLATFORM_DATABASE"
BUSY_SECONDS = 30
"""How long a writer waits for another process that writes the same SQLite file."""

METADATA = sa.MetaData()
SCHEMA = sa.Table("houndsight_schema", METADATA, sa.Column("version", sa.Integer, nullable=False))
RECORDS = sa.Table(
    "records",
    METADATA,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("arn", sa.String(512), nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("created", sa.Float(53), nullable=False),
    sa.Column("modified", sa.Float(53), nullable=False),
    sa.Column("parent", sa.String(255), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("handle", sa.Text, nullable=True),
    sa.Index("records_by_creation", "kind", "created", "name"),
    sa.Index("records_by_status", "kind", "status", "name"),
    sa.Index("records_by_parent", "kind", "parent", "created", "name"),
)
TAGS = sa.Table(
    "tags",
    METADATA,
    sa.Column("arn", sa.String(512), primary_key=True),
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("value", sa.String(256), nullable=False),
    sa.Column("position", sa.Float(53), nullable=False),
)


def connect(database: Path | str) -> sa.Engine:
    """An engine for a SQLite file or a database URL.

    Raises:
        SettingError: the URL cannot be read, or its driver is not installed.
    """
    url = str(database) if "://" in str(database) else f"sqlite:///{Path(database).absolute()}"
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        return sa.create_engine(parsed, pool_size=16, max_overflow=48, pool_pre_ping=True)
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise SettingError(
            f"{VARIABLE} names a database that cannot be used: {error}. Give it a URL such as"
            " postgresql+psycopg://user@host/name, with its driver installed, or unset it."
        ) from error


def prepare(engine: sa.Engine) -> None:
    """Make the tables, or bring older ones up to this version.

    Raises:
        JobsError: a newer version wrote them, or the database cannot be opened.
    """
    try:
        with engine.begin() as connection:
            METADATA.create_all(connection)
            found = connection.execute(sa.select(SCHEMA.c.version)).scalar()
            if found is None:
                connection.execute(SCHEMA.insert().values(version=VERSION))
            elif found > VERSION:
                raise JobsError(
                    f"The job store has format {found}, newer than this version reads ({VERSION}):"
                    " update Houndsight."
                )
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        where = engine.url.render_as_string()
        raise JobsError(f"The job store {where} cannot be opened: {cause}.") from error


def _sqlite(url: sa.URL) -> sa.Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        _make_private(Path(url.database))
    engine = sa.create_engine(
        url, pool_size=16, max_overflow=48, connect_args={"timeout": BUSY_SECONDS}
    )
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def _make_private(path: Path) -> None:
    """Requests hold environments, and those hold secrets."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _on_connect(connection: sqlite3.Connection, _: Any) -> None:
    # The driver must not begin transactions by itself: see `_on_begin`.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _on_begin(connection: sa.Connection) -> None:
    """A transaction that will write takes the lock first: reading before it would be in vain."""
    writes = connection.get_execution_options().get("writes", True)
    # None: a single read, which is whole by itself.
    if writes is not None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
