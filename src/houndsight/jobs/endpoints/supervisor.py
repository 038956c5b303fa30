"""An endpoint's supervisor: follows what is wanted, and keeps workers in service.

`python -m houndsight.jobs.endpoints.supervisor FOLDER`, detached from the control plane and without
PyTorch. It owns the endpoint's folder; what it knows stands in files, so that another takes over
where a killed one was. A new configuration is brought up beside the old one, then requests go to
it, then the old one answers what it has taken and leaves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from houndsight.config import resolve
from houndsight.errors import HoundsightError, RunError
from houndsight.jobs.container.clone import remove_tree
from houndsight.jobs.endpoints.deployment import Deployment
from houndsight.jobs.endpoints.follow import LogKeeper, memory_of
from houndsight.jobs.endpoints.leaving import Leaving
from houndsight.jobs.endpoints.settings import EndpointsSettings
from houndsight.jobs.endpoints.spec import EndpointSpec
from houndsight.jobs.endpoints.state import EndpointState, VariantState
from houndsight.jobs.layout import EndpointFolder, PlatformHome
from houndsight.jobs.local.processes import write_identity
from houndsight.jobs.machine import Machine
from houndsight.jobs.settings import JobsSettings

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["DELETED", "Supervisor", "main"]

DELETED = "Deleted"
"""The last status of an endpoint; the control plane then forgets it."""
BUSY_S, QUIET_S = 0.03, 0.2
MEMORY_EVERY_S = 20.0
SETTLED_S = 1.0
"""After so long in service, what a model holds is what it will hold."""
DRAIN_MARGIN_S = 5.0


class Supervisor:
    """One endpoint. `step` until `ended`."""

    def __init__(
        self, folder: EndpointFolder, objects: ObjectStore, settings: EndpointsSettings, cores: int
    ) -> None:
        self.folder, self.objects, self.settings, self.cores = folder, objects, settings, cores
        self.ended = False
        self._state = self._told = EndpointState.read(folder.status) or EndpointState()
        if self._state.status in ("Updating", "RollingBack"):
            self._state = dataclasses.replace(self._state, status="InService")
        self._wanted = EndpointSpec.read(folder.wanted)
        self._wanted_stamp = _stamp(folder.wanted)
        self._current: Deployment | None = None
        self._coming: Deployment | None = None
        self._before: EndpointSpec | None = None
        """What was in service when scaling began."""
        self._leaving: list[Leaving] = []
        self._undone: Leaving | None = None
        """The workers of an update that failed."""
        self._deleting = False
        self._memory_at = 0.0
        self._logs = LogKeeper(folder)
        self._take_up()

    @property
    def is_busy(self) -> bool:
        """Whether something is about to change."""
        settled = self._coming is None and self._before is None and not self._leaving
        return not settled or (self._current is not None and not self._current.is_ready)

    def step(self) -> None:
        """One look at everything."""
        now = time.monotonic()
        if self.folder.delete.exists() and not self._deleting:
            self._delete()
        if not self._deleting:
            self._follow_wanted()
        for deployment in filter(None, (self._current, self._coming)):
            deployment.step(now)
            if deployment.orphans:
                self._leaving.append(Leaving(deployment.orphans, grace_s=0.0))
                deployment.orphans = []
        for leaving in self._leaving:
            leaving.step(now)
        self._leaving = [leaving for leaving in self._leaving if not leaving.gone]
        self.follow_logs()
        if self._deleting:
            self._end_deleting()
        else:
            self._judge()
            self._tell(now)

    def follow_logs(self) -> None:
        """Take in what the workers have written."""
        self._logs.follow()

    # -- beginning ----------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Find what an earlier supervisor has started, and end what nobody needs."""
        with contextlib.suppress(RunError):
            self._current = self._deployment(EndpointSpec.read(self.folder.current))
            self._current.begin()
            self._current.keep_trying()
        needed = {self._wanted.generation} if self._is_wanted_new() else set()
        needed |= {self._current.spec.generation} if self._current else set()
        found = self.folder.generations.iterdir() if self.folder.generations.is_dir() else ()
        for path in found:
            if path.name not in {str(number) for number in needed}:
                self._leaving.append(Leaving.generation(path, grace_s=self._drain_s))

    def _is_wanted_new(self) -> bool:
        handled = self._current.spec.revision if self._current else 0
        return self._wanted.revision > max(handled, self._state.revision)

    def _deployment(self, spec: EndpointSpec) -> Deployment:
        return Deployment(self.folder, spec, self.objects, self.settings, self.cores)

    @property
    def _drain_s(self) -> float:
        return self.settings.answer_seconds + DRAIN_MARGIN_S

    # -- what is wanted -----------------------------------------------------------------------

    def _follow_wanted(self) -> None:
        stamp = _stamp(self.folder.wanted)
        if stamp != self._wanted_stamp:
            self._wanted_stamp, self._wanted = stamp, EndpointSpec.read(self.folder.wanted)
        if self._coming is not None or self._before is not None or not self._is_wanted_new():
            return
        current = self._current
        if current is not None and current.spec.generation == self._wanted.generation:
            self._before = current.spec
            self._let_go(current.scale(self._wanted))
            return
        self._coming = self._deployment(self._wanted)
        self._coming.begin()
        self._say(f"Bringing up {self._wanted.config}.")

    def _judge(self) -> None:
        """What follows from how everything stands."""
        if self._coming is not None:
            if self._coming.failure:
                self._roll_back(self._coming)
            elif self._coming.is_ready:
                self._switch(self._coming)
        elif self._before is not None and self._current is not None:
            if self._current.failure:
                self._scale_back(self._current, self._before)
            elif self._current.is_ready:
                self._take_as_current(self._current)
        elif self._current is not None:
            self._judge_service(self._current)

    def _switch(self, coming: Deployment) -> None:
        """From here on requests go to the new workers; the old ones answer what they have."""
        old, self._current, self._coming = self._current, coming, None
        self._take_as_current(coming)
        if old is not None:
            self._tell(time.monotonic(), at_once=True)
            self._leaving.append(Leaving.generation(old.folder, grace_s=self._drain_s))

    def _take_as_current(self, deployment: Deployment) -> None:
        deployment.keep_trying()
        spec, self._before = deployment.spec, None
        self._memory_at = time.monotonic() + SETTLED_S
        spec.write(self.folder.current)
        self._state = dataclasses.replace(
            self._state,
            status="InService",
            generation=spec.generation,
            revision=spec.revision,
            config=spec.config,
            failure="",
        )
        self._say(f"{spec.config} is in service.")

    def _roll_back(self, coming: Deployment) -> None:
        self._say(f"{coming.spec.config} could not be brought up: {coming.failure}")
        self._undone = Leaving.generation(coming.folder, grace_s=0.0)
        self._leaving.append(self._undone)
        self._coming = None
        self._state = dataclasses.replace(
            self._state,
            status="Failed" if self._current is None else "InService",
            revision=coming.spec.revision,
            failure=coming.failure,
        )

    def _scale_back(self, current: Deployment, before: EndpointSpec) -> None:
        failure, revision = current.failure, current.spec.revision
        self._let_go(current.scale(dataclasses.replace(before, revision=revision)))
        self._take_as_current(current)
        self._state = dataclasses.replace(self._state, failure=failure)

    def _let_go(self, attempts: list[Path]) -> None:
        if attempts:
            self._leaving.append(Leaving(attempts, grace_s=self._drain_s))

    def _judge_service(self, current: Deployment) -> None:
        """Whether what is in service answers at all."""
        status, failure = self._state.status, self._state.failure
        if current.is_down:
            status, failure = "OutOfService", current.trouble
        elif status == "OutOfService" and any(w.ready for w in current.all_workers):
            status, failure = "InService", ""
        self._state = dataclasses.replace(self._state, status=status, failure=failure)

    # -- telling ------------------------------------------------------------------------------

    def _tell(self, now: float, *, at_once: bool = False) -> None:
        state = dataclasses.replace(self._state, status=self._status(), variants=self._variants())
        if now >= self._memory_at and not at_once:
            self._memory_at = now + MEMORY_EVERY_S
            state = dataclasses.replace(state, memory_bytes=memory_of(self.folder))
        if state != self._told or not self.folder.status.exists():
            state.write(self.folder.status)
        self._told = state
        self._state = dataclasses.replace(state, status=self._state.status)
        if self._state.status == "Failed" and not self.is_busy and not self._is_wanted_new():
            self.ended = True

    def _status(self) -> str:
        if self._coming is not None or self._before is not None:
            return "Updating" if self._current is not None else "Creating"
        if self._undone is not None and not self._undone.gone and self._current is not None:
            return "RollingBack"
        return self._state.status

    def _variants(self) -> tuple[VariantState, ...]:
        if self._current is not None:
            changing = "Updating" if self._status() == "Updating" else ""
            weights = [v.weight for v in self._before.variants] if self._before else ()
            return tuple(self._current.states(changing=changing, weights=weights))
        if self._coming is not None:
            return tuple(self._coming.states(changing="Creating"))
        return ()

    def _say(self, text: str) -> None:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)

    # -- ending -------------------------------------------------------------------------------

    def _delete(self) -> None:
        self._deleting = True
        self._current = self._coming = None
        self._leaving = [
            Leaving.generation(path, grace_s=self.settings.delete_seconds)
            for path in sorted(self.folder.generations.glob("*"))
        ]

    def _end_deleting(self) -> None:
        if self._leaving:
            return
        remove_tree(self.folder.generations)
        dataclasses.replace(self._state, status=DELETED, variants=()).write(self.folder.status)
        self.ended = True


def main(argv: list[str]) -> int:
    """Supervise the endpoint in a folder until it is deleted, or has failed."""
    from houndsight.jobs.objects import ObjectStore

    folder = EndpointFolder(Path(argv[0]))
    home = PlatformHome(folder.path.parent.parent)
    with folder.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        write_identity(folder.supervisor)
        try:
            cores = Machine.here(resolve(JobsSettings).value).cores
            settings = resolve(EndpointsSettings).value
            supervisor = Supervisor(folder, ObjectStore(home.objects), settings, cores)
        except HoundsightError as error:
            print(f"houndsight: {error}", file=sys.stderr)
            return error.exit_code
        while not supervisor.ended:
            supervisor.step()
            time.sleep(BUSY_S if supervisor.is_busy else QUIET_S)
        supervisor.follow_logs()
        # The thread that prepares an endpoint that was deleted meanwhile is not waited for.
        sys.stdout.flush()
        os._exit(0)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
