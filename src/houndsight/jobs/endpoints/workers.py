"""One worker of a variant through all its starts: made ready, watched, started again, ended.

A worker's process is started by a stub (`houndsight.jobs.local.stub`), which waits for it and
writes how it ended. Each start has a folder of its own, so that a supervisor that takes over finds
in the folders what runs, and a late stub can start nothing twice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from houndsight.jobs.container.clone import remove_tree
from houndsight.jobs.container.failure import last_error
from houndsight.jobs.endpoints import logs
from houndsight.jobs.endpoints.connection import is_healthy
from houndsight.jobs.endpoints.prepare import ATTEMPT_MARK, Prepared, write_attempt
from houndsight.jobs.endpoints.settings import EndpointsSettings
from houndsight.jobs.endpoints.spec import EndpointSpec, VariantSpec
from houndsight.jobs.endpoints.state import WorkerState
from houndsight.jobs.layout import EndpointFolder, HostFolder, VariantFolder
from houndsight.jobs.local import stub
from houndsight.jobs.local.processes import Detached, end_session, is_alive, read_identity, send
from houndsight.wording import duration

__all__ = ["Site", "Worker", "attempt_number", "host_of"]

FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.5, 60.0
STEADY_S = 60.0
"""After so long in service, a crash counts as the first one."""
PING_EVERY_S = 5.0
HUNG_S = 30.0
"""How long beyond the time for an answer a worker may leave pings unanswered."""
KILL_EVERY_S = 30.0
STARTS_BEFORE_FAILURE = 3
"""A process that dies without an error of the script's is started so often in all."""
EXIT_LATE = 75
TAIL_BYTES = 64_000
_children: list[Detached] = []


@dataclass(frozen=True)
class Site:
    """What the workers of a variant have in common."""

    endpoint: EndpointFolder
    spec: EndpointSpec
    variant: VariantSpec
    folder: VariantFolder
    prepared: Prepared
    settings: EndpointsSettings
    cores: int

    def stream(self, worker: str) -> HostFolder:
        """Where a worker's log stands."""
        name = logs.stream_name(
            self.spec.arn, self.spec.created, self.spec.generation, self.variant.name, worker
        )
        return self.endpoint.stream(self.variant.name, name)


class Worker:
    """One worker. `step` is called again and again."""

    def __init__(self, site: Site, name: str) -> None:
        """Take up what an earlier supervisor has started, if there is anything."""
        self.name, self.site = name, site
        self.ready = False
        self.persistent = False
        """Whether it is started again whatever happens: what it belongs to is in service."""
        self.crashes = 0
        self.failure = ""
        """Why it last ended."""
        self.is_final = False
        """Whether another start would end the same."""
        self.attempt = max((attempt_number(p) for p in self._attempts()), default=0)
        self._started = self._answered = time.monotonic()
        self._ready_since = 0.0
        self._next_start = 0.0
        self._next_ping = 0.0
        self._next_kill = 0.0
        self._taken_up = self.attempt > 0
        if self._taken_up and not self._host.process.exists():
            # Whoever was about to start it must not any more.
            self._host.path.mkdir(parents=True, exist_ok=True)
            stub.claim(str(self._host.path))
            self._taken_up = False

    @property
    def folder(self) -> Path:
        """Of its last start."""
        return self.site.folder.attempts / f"{self.name}-{self.attempt}"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "socket"

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        if self.attempt == 0 or self._host.exit.exists():
            return False
        if self._host.process.exists():
            identity = read_identity(self._host.process)
            return bool(identity and identity["pid"] != os.getpid() and is_alive(identity))
        return self._stub is not None and self._stub.poll() is None

    _stub: Detached | None = None

    @property
    def _host(self) -> HostFolder:
        return host_of(self.folder)

    def state(self) -> WorkerState:
        """For `status.json`."""
        identity = read_identity(self._host.process) if self.ready else None
        return WorkerState(
            name=self.name,
            attempt=self.attempt,
            socket=str(self.socket.relative_to(self.site.endpoint.path)),
            ready=self.ready,
            pid=identity["pid"] if identity else 0,
            note="" if self.ready else self._note(),
        )

    def step(self, now: float) -> None:
        """Look after it; `now` is monotonic."""
        _reap()
        if self.is_alive:
            self._look_at(now)
            return
        if self._taken_up:
            self._taken_up = False
            self._on_end(now)
        if now >= self._next_start and (self.persistent or not self.is_final):
            self._start(now)

    def _start(self, now: float) -> None:
        self.attempt += 1
        told = {
            "answer_seconds": self.site.settings.answer_seconds,
            "max_body_bytes": self.site.settings.max_body_bytes,
            "cores": self.site.cores,
        }
        write_attempt(self.site.prepared, self.site.folder, self.folder, told)
        self._host.path.mkdir(parents=True, exist_ok=True)
        stream = self.site.stream(self.name)
        stream.path.mkdir(parents=True, exist_ok=True)
        self._host.log.symlink_to(stream.log)
        self._stub = Detached(
            [sys.executable, "-I", "-S", stub.__file__, str(self.folder), "worker"],
            log=self.site.endpoint.messages,
            cwd=Path("/"),
        )
        _children.append(self._stub)
        self._started, self._taken_up, self._next_kill = now, True, 0.0
        self._forget_older()

    def _look_at(self, now: float) -> None:
        if not self.ready:
            if self.socket.exists() and is_healthy(self.socket):
                self.ready, self._ready_since, self._answered = True, now, now
            elif now - self._started > self._start_limit:
                self._give_up(f"did not answer /ping within {duration(self._start_limit)}", now)
            return
        if now < self._next_ping:
            return
        self._next_ping = now + PING_EVERY_S
        if is_healthy(self.socket):
            self._answered = now
        elif now - self._answered > self.site.settings.answer_seconds + HUNG_S:
            self._give_up(f"left /ping unanswered for {duration(now - self._answered)}", now)

    @property
    def _start_limit(self) -> float:
        return self.site.variant.start_seconds or self.site.settings.start_seconds

    def _give_up(self, why: str, now: float) -> None:
        """Have its stub kill it; asked again only if that takes very long."""
        self.ready = False
        self._ended_because = self._ended_because or why
        identity = read_identity(self._host.process)
        if identity is not None and now >= self._next_kill:
            self._next_kill = now + KILL_EVERY_S
            send(identity, signal.SIGUSR1)

    _ended_because = ""

    def _on_end(self, now: float) -> None:
        identity = read_identity(self._host.process)
        if not self._host.exit.exists() and identity is not None:
            end_session(identity, f"{ATTEMPT_MARK}={self.folder}")
        if self.ready and now - self._ready_since > STEADY_S:
            self.crashes = 0
        was_ready, self.ready = self.ready, False
        self.crashes += 1
        failed = _read(self.folder / "failure.json")
        self.failure = self._ended_because or _why(failed, _read(self._host.exit), self._tail())
        tried = bool(failed or self._ended_because) or self.crashes >= STARTS_BEFORE_FAILURE
        self.is_final = tried and not was_ready and not self.persistent
        self._ended_because = ""
        wait_s = min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** (self.crashes - 1))
        self._next_start = now + wait_s
        again = "" if self.is_final else f" It is started again in {duration(wait_s)}."
        logs.say(self.site.stream(self.name), f"The worker {self.failure}.{again}", level="ERROR")

    def _note(self) -> str:
        return f"The worker {self.failure}." if self.failure else "The worker is starting."

    def _tail(self) -> str:
        try:
            with self.site.stream(self.name).log.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _attempts(self) -> list[Path]:
        return list(self.site.folder.attempts.glob(f"{self.name}-*"))

    def _forget_older(self) -> None:
        for path in self._attempts():
            if attempt_number(path) < self.attempt - 1:
                remove_tree(path)


def host_of(attempt: Path) -> HostFolder:
    """Where the stub of an attempt writes."""
    return HostFolder(attempt / "hosts" / "worker")


def attempt_number(path: Path) -> int:
    """2 of `w0-2`."""
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _read(path: Path) -> dict[str, Any]:
    try:
        row = json.loads(path.read_bytes())
        return row if isinstance(row, dict) else {}
    except (OSError, ValueError):
        return {}


def _why(failed: dict[str, Any], ended: dict[str, Any], log: str) -> str:
    """Goes on after "The worker "."""
    if failed:
        where = f" ({failed['where']})" if failed.get("where") else ""
        stage = failed.get("stage") or "starting"
        advice = f" {failed['advice']}" if failed.get("advice") else ""
        return f"failed in {stage}{where}: {failed['message']}{advice}".rstrip(".")
    if ended.get("code") == EXIT_LATE:
        return "was still busy with a request whose time was over"
    if ended.get("signal"):
        if ended.get("oom_kills") and ended["signal"] == signal.SIGKILL:
            return "was killed because this machine ran out of memory"
        return f"was ended by {_signal_name(ended['signal'])}"
    if ended.get("code") is None:
        return "was ended together with its stub"
    error = last_error(log)
    return f"ended with exit code {ended['code']}" + (f": {error}".rstrip(".") if error else "")


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
