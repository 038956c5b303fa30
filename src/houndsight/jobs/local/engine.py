"""The local engine: every job has a detached supervisor, and a dead one is replaced."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from houndsight.config import resolve
from houndsight.jobs.engine import Allotment, Engine, Handle, LogPage
from houndsight.jobs.instances import advice
from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.local.grant import Grant, Limits
from houndsight.jobs.local.keeping import END_SECONDS, Keeper
from houndsight.jobs.local.launching import launcher_file, launcher_identity
from houndsight.jobs.local.logs import read_page
from houndsight.jobs.local.processes import Detached, is_alive, send, write_identity
from houndsight.jobs.machine import Machine
from houndsight.jobs.settings import JobsSettings
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import JobState, JobStatus

__all__ = ["LocalEngine"]

MEGABYTE = 1_000_000
LOOK_SECONDS = 0.5
STATUSES_KEPT = 1_000
SETTLED_SECONDS = 3.0
"""A job that has run so long is no longer disturbed when the next supervisor gets ready."""


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
        self._launcher: Detached | None = None
        self._lock = threading.Lock()
        self._keeper = Keeper(
            home,
            interpreter=self._interpreter,
            environment=self.environment,
            spare_s=self.settings.launcher_minutes * 60 if self.settings.launcher else 0,
            status=self._status,
        )
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
        # For the owner's eyes: environments hold secrets.
        folder.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.path.mkdir(exist_ok=True)
        if not folder.spec.exists():
            self._grant(spec, allotment).write(folder.allotment)
            # Written last: a folder with a specification is whole.
            spec.write(folder.spec)
        handle = {"engine": self.name, "folder": str(folder.path)}
        if not spec.entrypoint:
            self.warm()
        with self._lock:
            self._keeper.keep(folder)
        return handle

    def attach(self, handle: Handle) -> None:
        """See to it that a job that has not ended has a supervisor."""
        self.status(handle)

    def status(self, handle: Handle) -> JobStatus:
        """Where it stands, as its supervisor wrote it; a dead supervisor is replaced."""
        folder = _folder(handle)
        status = self._status(folder)
        with self._lock:
            if status.state.ended:
                self._keeper.forget(folder)
                self._looked.pop(folder.path, None)
            elif self._is_due(folder):
                if not folder.spec.exists():
                    return _vanished(folder, status)
                self._keeper.keep(folder)
            if status.state.ended or _runs_for(status) > SETTLED_SECONDS:
                self._keeper.have_a_spare()
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
        with self._lock:
            self._keeper.close()
        launcher = launcher_identity(self.home)
        if launcher is not None:
            send(launcher, signal.SIGTERM)
        if self._launcher is not None:
            self._launcher.end(END_SECONDS)

    def _is_due(self, folder: JobFolder) -> bool:
        now = time.monotonic()
        if now - self._looked.get(folder.path, -LOOK_SECONDS) < LOOK_SECONDS:
            return False
        self._looked[folder.path] = now
        return True

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
        if len(self._read) >= STATUSES_KEPT:
            self._read.clear()
        self._read[folder.path] = (key, status)
        return status


def _runs_for(status: JobStatus) -> float:
    """Seconds since its training began; 0 before, and after."""
    if status.state != JobState.TRAINING or status.training_started is None:
        return 0.0
    return time.time() - status.training_started


def _vanished(folder: JobFolder, status: JobStatus) -> JobStatus:
    """A started job always has its specification: somebody has removed the folder."""
    reason = f"InternalServerError: the job's folder {folder.path} was removed while it ran."
    now = time.time()
    return status.moved(JobState.FAILED, "Training job failed", now, failure_reason=reason)


def _folder(handle: Handle) -> JobFolder:
    return JobFolder(Path(handle["folder"]))
