"""Keeps every job supervised: starts supervisors, replaces dead ones, has a spare one ready.

A spare supervisor has imported what it needs and waits for a folder on its stdin, so that a job's
script starts a third of a second earlier; it ends with the control plane, or after idle minutes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from houndsight.errors import RunError
from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.local.launching import mark_of
from houndsight.jobs.local.processes import Detached, end_session, is_alive, read_identity, send
from houndsight.jobs.status import JobState, JobStatus

__all__ = ["Keeper"]

MODULE = "houndsight.jobs.local.supervisor"
END_SECONDS = 10.0
"""How long a spare supervisor may take to notice that nobody needs it."""
SPARE_AGAIN_SECONDS = 10.0
"""After a spare supervisor has died by itself, how long until there is another."""
DEATHS = 5
DEATHS_SECONDS = 60.0
"""A supervisor that dies this often in this time is not replaced again."""


class Keeper:
    """The supervisors of one control plane. Not thread-safe: its owner holds a lock.

    Args:
        interpreter: what runs `-m MODULE`.
        environment: variables that supervisors get besides this process's.
        spare_s: how long a spare supervisor waits for work; 0: there is none.
        status: reads where a job stands.
    """

    def __init__(
        self,
        home: PlatformHome,
        *,
        interpreter: Sequence[str],
        environment: Mapping[str, str],
        spare_s: float,
        status: Callable[[JobFolder], JobStatus],
    ) -> None:
        self._home, self._interpreter = home, tuple(interpreter)
        self._environment, self._spare_s, self._status = environment, spare_s, status
        self._supervisors: dict[Path, Detached] = {}
        self._spare: Detached | None = None
        self._spare_started = 0.0
        self._deaths: dict[Path, list[float]] = {}

    def keep(self, folder: JobFolder) -> None:
        """See to it that a job that has not ended has a supervisor."""
        if is_alive(read_identity(folder.supervisor)):
            return
        started = self._supervisors.get(folder.path)
        if started is not None and started.poll() is None:
            return
        if self._status(folder).state.ended:
            return
        if started is not None and self._died_too_often(folder):
            self._give_up(folder)
        else:
            self._supervisors[folder.path] = self._take_spare(folder) or self._start(folder)

    def forget(self, folder: JobFolder) -> None:
        """A job has ended."""
        self._deaths.pop(folder.path, None)
        supervisor = self._supervisors.pop(folder.path, None)
        if supervisor is not None and supervisor.poll() is None:
            # It tells of the end before it ends itself; unawaited it would stay as a zombie.
            threading.Thread(target=supervisor.wait, name="await-supervisor", daemon=True).start()

    def have_a_spare(self) -> None:
        """Have a supervisor ready for the next job."""
        now = time.monotonic()
        if self._spare_s <= 0 or (
            self._spare is not None
            and (self._spare.poll() is None or now - self._spare_started < SPARE_AGAIN_SECONDS)
        ):
            return
        self._spare_started = now
        self._spare = Detached(
            [*self._interpreter, "-m", MODULE, "--spare", str(self._spare_s)],
            log=self._home.root / "supervisor.log",
            cwd=self._home.root,
            environment={**os.environ, **self._environment},
            stdin=subprocess.PIPE,
        )

    def close(self) -> None:
        """Supervisors go on; the spare one ends."""
        if self._spare is not None and self._spare.stdin is not None:
            with contextlib.suppress(OSError):
                self._spare.stdin.close()
            self._spare.end(END_SECONDS)
        self._spare = None

    def _start(self, folder: JobFolder) -> Detached:
        return Detached(
            [*self._interpreter, "-m", MODULE, str(folder.path)],
            log=folder.messages,
            cwd=folder.path,
            environment={**os.environ, **self._environment},
        )

    def _take_spare(self, folder: JobFolder) -> Detached | None:
        spare, self._spare = self._spare, None
        if spare is None or spare.poll() is not None or spare.stdin is None:
            return None
        try:
            spare.stdin.write(os.fsencode(folder.path) + b"\n")
            spare.stdin.close()
        except OSError:
            return None
        return spare

    def _died_too_often(self, folder: JobFolder) -> bool:
        now = time.monotonic()
        deaths = [t for t in self._deaths.get(folder.path, []) if now - t < DEATHS_SECONDS]
        self._deaths[folder.path] = [*deaths, now]
        return len(deaths) + 1 >= DEATHS

    def _give_up(self, folder: JobFolder) -> None:
        """The supervisor cannot do it: end the scripts, and say so in its place."""
        with folder.lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            for place in sorted((folder.path / "hosts").glob("*/process.json")):
                stub = read_identity(place)
                if stub is not None:
                    send(stub, signal.SIGKILL)
                    end_session(stub, mark_of(folder))
            try:
                status = JobStatus.read(folder.status)
            except RunError:
                status = JobStatus()
            reason = (
                "InternalServerError: the job's supervisor ended again and again; its last words"
                f" stand in {folder.messages}: {_last_line(folder.messages)}"
            )
            status.moved(
                JobState.FAILED, "Training job failed", time.time(), failure_reason=reason
            ).write(folder.status)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
