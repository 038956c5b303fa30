"""The local engine: every job has a detached supervisor, and a dead one is replaced."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from houndsight.config import resolve
from houndsight.errors import RunError
from houndsight.jobs.engine import Allotment, Engine, Handle, LogPage
from houndsight.jobs.instances import advice
from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.local.grant import Grant, Limits
from houndsight.jobs.local.launching import launcher_file, launcher_identity, mark_of
from houndsight.jobs.local.logs import read_page
from houndsight.jobs.local.processes import (
    Detached,
    end_session,
    is_alive,
    read_identity,
    send,
    write_identity,
)
from houndsight.jobs.machine import Machine
from houndsight.jobs.settings import JobsSettings
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import JobState, JobStatus

__all__ = ["LocalEngine"]

MEGABYTE = 1_000_000
LOOK_SECONDS = 0.5
DEATHS = 5
DEATHS_SECONDS = 60.0
"""A supervisor that dies this often in this time is not replaced again."""


class LocalEngine(Engine):
    """Training jobs as processes of this machine.

    Args:
        environment: variables that supervisors get besides this process's, and jobs inherit:
            where the platform listens, and a key for it.
        interpreter: what runs `-m MODULE`; tests put something in front.
    """

    name: ClassVar[str] = "local"

    def __init__(
        self,
        home: PlatformHome,
        *,
        settings: JobsSettings | None = None,
        environment: Mapping[str, str] | None = None,
        interpreter: Sequence[str] = (sys.executable, "-P"),
    ) -> None:
        self.home = home
        self.settings = settings or resolve(JobsSettings).value
        self.environment = dict(environment or {})
        self._interpreter = tuple(interpreter)
        self._machine = Machine.here(self.settings)
        self._supervisors: dict[Path, Detached] = {}
        self._launcher: Detached | None = None
        self._deaths: dict[Path, list[float]] = {}
        self._looked: dict[Path, float] = {}
        self._read: dict[Path, tuple[tuple[int, int], JobStatus]] = {}

    def warm(self) -> None:
        """Have the launcher import PyTorch, if scripts are forked at all."""
        if not self.settings.launcher or is_alive(launcher_identity(self.home)):
            return
        if self._launcher is not None and self._launcher.poll() is None:
            return
        self.home.root.mkdir(parents=True, exist_ok=True)
        idle_s = self.settings.launcher_minutes * 60
        # Not with -P: Python would hand it on to the processes that scripts start.
        interpreter = [part for part in self._interpreter if part != "-P"]
        command = ["-m", "houndsight.jobs.local.launcher", str(self.home.root), str(idle_s)]
        log = self.home.root / "launcher.log"
        self._launcher = Detached([*interpreter, *command], log=log, cwd=self.home.root)
        # Known at once: a supervisor waits for it instead of importing PyTorch a second time.
        write_identity(launcher_file(self.home), self._launcher.pid)

    def start(self, spec: TrainingSpec, folder: JobFolder, allotment: Allotment) -> Handle:
        """Write the job's folder and start its supervisor; a second call finds the first's job."""
        folder.path.mkdir(parents=True, exist_ok=True)
        if not folder.spec.exists():
            self._grant(spec, allotment).write(folder.allotment)
            # Written last: a folder with a specification is whole.
            spec.write(folder.spec)
        handle = {"engine": self.name, "folder": str(folder.path)}
        if not spec.entrypoint:
            self.warm()
        self._keep_supervised(folder)
        return handle

    def attach(self, handle: Handle) -> None:
        """See to it that a job that has not ended has a supervisor."""
        self.status(handle)

    def status(self, handle: Handle) -> JobStatus:
        """Where it stands, as its supervisor wrote it; a dead supervisor is replaced."""
        folder = _folder(handle)
        status = self._status(folder)
        if status.state.ended:
            self._forget(folder)
        elif time.monotonic() - self._looked.get(folder.path, -LOOK_SECONDS) >= LOOK_SECONDS:
            self._looked[folder.path] = time.monotonic()
            self._keep_supervised(folder)
        return status

    def stop(self, handle: Handle) -> None:
        """Leave the request in the job's folder."""
        _folder(handle).stop.touch()

    def logs(self, handle: Handle, host: str, *, offset: int = 0, limit: int = 1_000) -> LogPage:
        """Lines of a host's log from a byte offset on."""
        folder = _folder(handle)
        return read_page(folder.host(host), offset, limit, ended=self._status(folder).state.ended)

    def artifacts(self, handle: Handle) -> Mapping[str, str]:
        """S3 URIs by kind."""
        status = self._status(_folder(handle))
        found = {"model": status.model_artifact, "output": status.output_artifact}
        return {kind: uri for kind, uri in found.items() if uri}

    def close(self) -> None:
        """Jobs go on; the launcher is not needed without a control plane."""
        launcher = launcher_identity(self.home)
        if launcher is not None:
            send(launcher, 15)
        if self._launcher is not None:
            self._launcher.wait(timeout=10)

    def _grant(self, spec: TrainingSpec, allotment: Allotment) -> Grant:
        chosen = self.settings
        limits = Limits(
            stop_s=chosen.stop_seconds,
            log_bytes=chosen.log_megabytes * MEGABYTE,
            disk_reserve_bytes=chosen.disk_reserve_megabytes * MEGABYTE,
        )
        note = advice(spec.instance_type, spec.instance_count, self._machine)
        return Grant(allotment=allotment, limits=limits, advice=note)

    def _status(self, folder: JobFolder) -> JobStatus:
        try:
            row = folder.status.stat()
        except FileNotFoundError:
            return JobStatus()
        key = (row.st_ino, row.st_mtime_ns)
        known = self._read.get(folder.path)
        if known is not None and known[0] == key:
            return known[1]
        status = JobStatus.read(folder.status)
        self._read[folder.path] = (key, status)
        return status

    def _keep_supervised(self, folder: JobFolder) -> None:
        if is_alive(read_identity(folder.supervisor)):
            return
        started = self._supervisors.get(folder.path)
        if started is not None and started.poll() is None:
            return
        if self._status(folder).state.ended:
            return
        if started is not None and self._died_too_often(folder):
            self._give_up(folder)
            return
        self._supervisors[folder.path] = Detached(
            [*self._interpreter, "-m", "houndsight.jobs.local.supervisor", str(folder.path)],
            log=folder.messages,
            cwd=folder.path,
            environment={**os.environ, **self.environment},
        )

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
                    send(stub, 9)
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

    def _forget(self, folder: JobFolder) -> None:
        supervisor = self._supervisors.get(folder.path)
        if supervisor is not None and supervisor.poll() is not None:
            del self._supervisors[folder.path]
        self._deaths.pop(folder.path, None)
        self._looked.pop(folder.path, None)


def _folder(handle: Handle) -> JobFolder:
    return JobFolder(Path(handle["folder"]))


def _last_line(path: Path) -> str:
    try:
        lines = path.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
