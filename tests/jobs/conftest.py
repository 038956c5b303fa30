"""A PostgreSQL of the tests' own, where it is installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

SECONDS_TO_START = 60
HOMES = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of each version, which are not on PATH."""


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that ends with the tests, without a database's name."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    initdb, server = _program("initdb"), _program("postgres")
    folder = tmp_path_factory.mktemp("postgresql")
    who = _somebody(folder)
    options = ["--auth", "trust", "--username", "tests", "--no-sync"]
    subprocess.run([initdb, "-D", folder / "data", *options], user=who, check=True, cwd=folder,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    port = _free_port()
    command = [server, "-D", folder / "data", "-p", str(port), "-k", folder, "-F"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, user=who, cwd=folder, stderr=log) as process,
    ):
        url = f"postgresql+psycopg://tests@127.0.0.1:{port}"
        try:
            _wait_for(f"{url}/postgres", folder / "log")
            yield url
        finally:
            process.terminate()


@pytest.fixture
def postgresql_database(postgresql: str) -> str:
    """The URL of an empty database."""
    name = f"t{uuid.uuid4().hex}"
    engine = sa.create_engine(f"{postgresql}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{postgresql}/{name}"


def _program(name: str) -> str:
    found = [shutil.which(name), *sorted(map(str, HOMES.glob(f"*/bin/{name}")))]
    program = next(filter(None, found), None)
    if program is None:
        pytest.skip("PostgreSQL is not installed")
    return program


def _somebody(folder: Path) -> int | None:
    """Who may run it: never root; the folder becomes theirs."""
    if os.geteuid():
        return None
    who = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, who, -1)
    for above in folder.parents:
        if above == Path("/tmp") or not above.is_relative_to("/tmp"):
            break
        above.chmod(above.stat().st_mode | 0o011)
    return who


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait_for(url: str, log: Path) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        with contextlib.suppress(sa.exc.OperationalError), engine.connect():
            return
        time.sleep(0.1)
    pytest.fail(f"PostgreSQL does not answer: {log.read_text()}")
