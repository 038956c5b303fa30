"""Finding, signalling and ending processes of a job, whoever started them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from houndsight.files import write_atomic
from houndsight.jobs.local.stub import boot_id, identity, process_table, start_time

__all__ = [
    "Detached",
    "boot_id",
    "end_session",
    "is_alive",
    "read_identity",
    "send",
    "write_identity",
]

END_SECONDS = 10.0
"""How long killed processes may take to vanish."""


class Detached(subprocess.Popen[bytes]):
    """A process in a session of its own that is meant to outlive this one."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        with log.open("ab") as file:
            super().__init__(
                command,
                stdin=stdin,
                stdout=file,
                stderr=file,
                cwd=cwd,
                env=environment,
                start_new_session=True,
            )

    def end(self, patience_s: float) -> None:
        """Wait for its end; after `patience_s` seconds kill it."""
        try:
            self.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()

    def __del__(self) -> None:
        """Letting go of it is no mistake."""
        with contextlib.suppress(Exception):
            self.poll()


def write_identity(path: Path, pid: int | None = None) -> None:
    """Say in `path`, by rename, who a process is; without `pid` this one."""
    write_atomic(path, json.dumps({"format": 1, **identity(pid or os.getpid())}).encode())


def read_identity(path: Path) -> dict[str, Any] | None:
    """Who wrote `path`; None if nobody did, or it cannot be read."""
    try:
        row = json.loads(path.read_bytes())
        return {"pid": int(row["pid"]), "start_time": row["start_time"], "boot_id": row["boot_id"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_alive(process: Mapping[str, Any] | None) -> bool:
    """Whether that very process runs: not another of its number, and no zombie."""
    if process is None or process["boot_id"] != boot_id():
        return False
    return bool(process["start_time"]) and start_time(process["pid"]) == process["start_time"]


def send(process: Mapping[str, Any], number: int) -> bool:
    """Send a signal to that very process; False if it is no more."""
    try:
        descriptor = os.pidfd_open(process["pid"])
    except OSError:
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


def end_session(stub: Mapping[str, Any], mark: str) -> int:
    """Kill what a stub that was killed has left; how many processes there were.

    They are known by the stub's session, and by `mark`, a variable in their environment
    (`NAME=value`); a process that left the session and cleared its environment is not found.
    """
    if stub["boot_id"] != boot_id():
        return 0
    killed: set[int] = set()
    deadline = time.monotonic() + END_SECONDS
    while left := _left_of(stub, mark.encode()):
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in left:
                # Not by its number: since the look it may have become somebody else's.
                send(process, number)
        killed.update(process["pid"] for process in left)
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return len(killed)


def _left_of(stub: Mapping[str, Any], mark: bytes) -> list[dict[str, Any]]:
    table = process_table()
    leader = table.get(stub["pid"])
    reused = leader is not None and leader["start"] != stub["start_time"]
    return [
        {"pid": pid, "start_time": row["start"], "boot_id": stub["boot_id"]}
        for pid, row in table.items()
        if pid != os.getpid()
        and row["state"] not in "ZX"
        and ((row["session"] == stub["pid"] and not reused) or mark in _environment(pid))
    ]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
