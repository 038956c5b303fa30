"""While the scripts run: follow their logs, keep the limits, notice how they end."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.local.attendance import Attendance
from houndsight.jobs.local.ending import Ending, Why, disk_is_filled_by, read_ending
from houndsight.jobs.local.following import LogFollower
from houndsight.jobs.local.grant import Grant
from houndsight.jobs.local.hosts import HostExit, RunningHost
from houndsight.jobs.local.launching import read_launch, start_afresh, start_by_launcher
from houndsight.jobs.local.metrics import MetricReader
from houndsight.jobs.local.processes import boot_id
from houndsight.jobs.local.statusfile import StatusFile
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import JobState
from houndsight.wording import duration, size

__all__ = ["Training"]

OFTEN_SECONDS, SELDOM_SECONDS = 0.1, 0.5
YOUNG_SECONDS = 20.0
"""A job that has just begun, or just printed, is looked at often."""
RULES_SECONDS, UPLOAD_SECONDS, DISK_SECONDS = 1.0, 5.0, 1.0
LOG_LIMITS = 8
"""How many times its limit a log may reach on a file system that cannot shorten it."""


class Training:
    """The loop; `run` returns when every host has ended."""

    def __init__(
        self,
        home: PlatformHome,
        folder: JobFolder,
        spec: TrainingSpec,
        grant: Grant,
        status: StatusFile,
        attendance: Attendance,
        say: Callable[[str], None],
    ) -> None:
        self.home, self.folder, self.spec, self.grant = home, folder, spec, grant
        self.status, self.attendance, self.say = status, attendance, say
        self.ending = read_ending(folder)
        self._terminated = False
        self._due: dict[str, float] = {}
        self._metrics = MetricReader(folder.metrics, spec.metric_definitions, say)
        keep = grant.limits.log_bytes
        self.hosts = {
            name: RunningHost(
                folder,
                folder.host(name),
                LogFollower(folder.host(name), self._metrics, keep_bytes=keep),
            )
            for name in spec.hosts
        }

    @property
    def exits(self) -> dict[str, HostExit]:
        """How each host ended; complete after `run`."""
        return {name: h.exit for name, h in self.hosts.items() if h.exit is not None}

    def run(self) -> None:
        """Start what was never started, then follow until every host has ended."""
        self._start_hosts()
        begun = time.monotonic()
        while True:
            for host in self.hosts.values():
                host.look()
            grew = self._follow()
            if len(self.exits) == len(self.hosts):
                break
            self._decide()
            self._enforce()
            self._attend()
            self.status.save()
            young = time.monotonic() - begun < YOUNG_SECONDS
            self._wait(OFTEN_SECONDS if young or grew else SELDOM_SECONDS)
        self._follow(to_the_end=True)
        self.status.note(metrics=dict(self._metrics.last))

    def _start_hosts(self) -> None:
        launch = read_launch(self.folder)
        assert launch is not None
        for name, host in self.hosts.items():
            if host.claimed:
                continue
            if launch["boot_id"] != boot_id():
                # It may have run before the machine went down: it never runs twice silently.
                host.exit = HostExit(code=None, signal=None, lost=True, ended=time.time())
                continue
            why = "it asks for more than a script"
            if launch["hosts"][name]["fork"]:
                why = start_by_launcher(self.home, self.folder, name)
            if why:
                self.say(f"{name} starts afresh: {why}.")
            host.started(start_afresh(self.folder, name) if why else None)

    def _follow(self, *, to_the_end: bool = False) -> bool:
        grew = False
        for host in self.hosts.values():
            try:
                grew |= host.log.follow(to_the_end=to_the_end)
            except OSError as error:
                self.say(f"The log of {host.folder.name} cannot be followed just now: {error}")
        if self._metrics.last:
            self.status.note(metrics=dict(self._metrics.last))
        return grew

    def _decide(self) -> None:
        """End the job early if something asks for it."""
        if self.ending is not None and self.ending.why != Why.HOST_FAILED:
            return
        why, text = self._reason_to_end()
        if why is None or (self.ending is not None and why == Why.HOST_FAILED):
            return
        self.ending = Ending.decide(self.folder, why, text)
        self.say(f"The job is ended: {why} {text}")

    def _reason_to_end(self) -> tuple[Why | None, str]:
        if self.folder.stop.exists():
            return Why.STOP, ""
        started = self.status.now.training_started or time.time()
        if time.time() - started > self.spec.max_runtime_s:
            return Why.MAX_RUNTIME, f"It ran longer than {duration(self.spec.max_runtime_s)}."
        if self._is_due("disk", DISK_SECONDS):
            text = disk_is_filled_by(self.folder, self.grant.limits.disk_reserve_bytes)
            if text:
                return Why.DISK, text
        for host in self.hosts.values():
            if self._log_is_too_long(host):
                return Why.LOG, (
                    f"The script printed {size(host.log.size_bytes)}, and this file system cannot"
                    " give back a part of a file. Have it print less."
                )
        if any(end.status != 0 for end in self.exits.values()):
            return Why.HOST_FAILED, ""
        return None, ""

    def _log_is_too_long(self, host: RunningHost) -> bool:
        limit = LOG_LIMITS * self.grant.limits.log_bytes
        return host.log.cannot_shorten and host.log.size_bytes > limit

    def _enforce(self) -> None:
        """SIGTERM once, then SIGKILL when patience is over."""
        if self.ending is None:
            return
        if self.ending.why == Why.STOP and self.status.state == JobState.TRAINING:
            self.status.move(JobState.STOPPING, "Stopping the training job")
        if not self._terminated and all(h.reachable for h in self.hosts.values()):
            self._terminated = True
            for host in self.hosts.values():
                host.terminate()
        overdue = time.time() - self.ending.time - self.ending.patience_s(self.grant.limits.stop_s)
        if overdue > 0 and self._is_due("kill", 1.0):
            for host in self.hosts.values():
                host.kill(overdue_s=overdue)

    def _attend(self) -> None:
        if self._is_due("rules", RULES_SECONDS):
            rules = self.attendance.poll()
            if rules is not None:
                self.status.note(rules=dict(rules[0]), profiler_rules=dict(rules[1]))
        if self._is_due("upload", UPLOAD_SECONDS):
            self.attendance.upload()

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    def _wait(self, seconds: float) -> None:
        """Sleep, but not past the end of a host."""
        waiting = select.poll()
        for host in self.hosts.values():
            descriptor = host.pidfd()
            if descriptor is not None:
                waiting.register(descriptor, select.POLLIN)
        waiting.poll(seconds * 1000)
