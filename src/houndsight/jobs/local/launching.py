"""From a prepared job to running scripts: `launch.json`, and who starts the script's process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight._version import __version__
from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.local.processes import Detached, boot_id, is_alive, read_identity

if TYPE_CHECKING:
    from houndsight.jobs.container.command import HostCommand

__all__ = [
    "launch_file",
    "launcher_file",
    "launcher_identity",
    "launcher_socket",
    "mark_of",
    "read_launch",
    "start_afresh",
    "start_by_launcher",
    "who_asks",
    "write_launch",
]

FORMAT = 1
LISTEN_SECONDS = 10.0
STUB = Path(__file__).with_name("stub.py")
SOCKET = "launcher.sock"
LAUNCHER_SECONDS = 60.0
"""How long a launcher that still imports PyTorch is waited for; starting afresh takes as long."""


def launch_file(folder: JobFolder) -> Path:
    """What every host executes, written once, before the first is started."""
    return folder.path / "launch.json"


def write_launch(folder: JobFolder, commands: Sequence[HostCommand]) -> None:
    """Write `launch.json` by rename; environments hold secrets, so the owner alone reads it."""
    mark, value = mark_of(folder).split("=")
    hosts = {
        command.host: {
            "argv": list(command.argv),
            "environment": {**command.environment, mark: value},
            "cwd": str(command.cwd),
            "fork": command.forkable
            and {
                "script": command.forkable.script,
                "argv": list(command.forkable.argv),
                "plan": str(command.forkable.plan),
            },
        }
        for command in commands
    }
    row = {"format": FORMAT, "boot_id": boot_id(), "time": time.time(), "hosts": hosts}
    path = launch_file(folder)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(json.dumps(row).encode())
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read_launch(folder: JobFolder) -> dict[str, Any] | None:
    """What `write_launch` wrote; None if the job was not ready yet."""
    try:
        row: dict[str, Any] = json.loads(launch_file(folder).read_bytes())
    except FileNotFoundError:
        return None
    return row


def mark_of(folder: JobFolder) -> str:
    """A variable by which the job's processes are known, as it stands in their environment."""
    digest = sha256(str(folder.path.absolute()).encode()).hexdigest()[:24]
    return f"HOUNDSIGHT_JOB_MARK={digest}"


def start_afresh(folder: JobFolder, host: str) -> Detached:
    """Start a host's stub, which starts its command."""
    command = [sys.executable, "-I", "-S", str(STUB), str(folder.path), host]
    return Detached(command, log=folder.messages, cwd=folder.path)


def start_by_launcher(home: PlatformHome, folder: JobFolder, host: str) -> str:
    """Have the launcher fork a host's script; "" when it did, else why it did not.

    Whatever the answer, or if there is none: starting the host afresh is safe, because only one
    stub can claim it.
    """
    if not is_alive(launcher_identity(home)):
        return "there is no launcher"
    request = {**who_asks(), "folder": str(folder.path), "host": host}
    try:
        with _connected(home) as connection:
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
    except (OSError, ValueError) as error:
        return f"the launcher did not answer: {error}"
    return str(answer.get("refused", "")) if isinstance(answer, dict) else "no answer"


def _connected(home: PlatformHome) -> socket.socket:
    """A launcher that was started just now may not listen yet."""
    deadline = time.monotonic() + LISTEN_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(LAUNCHER_SECONDS)
        try:
            with launcher_socket(home) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > deadline or not is_alive(launcher_identity(home)):
                raise
            time.sleep(0.05)
        else:
            return connection


def who_asks() -> Mapping[str, str]:
    """Launcher and supervisor must be of one installation."""
    return {"version": __version__, "python": sys.executable}


def launcher_identity(home: PlatformHome) -> dict[str, Any] | None:
    """Which process is the launcher."""
    return read_identity(launcher_file(home))


def launcher_file(home: PlatformHome) -> Path:
    """Says which process is the launcher."""
    return home.root / "launcher.json"


@contextmanager
def launcher_socket(home: PlatformHome) -> Iterator[str]:
    """The address of the launcher's socket, short enough however deep the folder lies."""
    descriptor = os.open(home.root, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
