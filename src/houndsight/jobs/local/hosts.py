"""One host of a running job, as its supervisor sees it: its stub, its log, how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from houndsight.jobs.layout import HostFolder, JobFolder
from houndsight.jobs.local.following import LogFollower
from houndsight.jobs.local.launching import mark_of, start_afresh
from houndsight.jobs.local.processes import Detached, end_session, is_alive, read_identity, send

__all__ = ["HostExit", "RunningHost"]

APPEAR_SECONDS = 30.0
"""How long a stub may take until it has claimed its host."""
STARTS = 3
AFTER_KILL_SECONDS = 30.0
"""How long a stub that was told to kill everything may take."""


@dataclass(frozen=True)
class HostExit:
    """How a host's script ended: `exit.json`, or that its stub was lost."""

    code: int | None
    signal: int | None
    oom_kills: int = 0
    lost: bool = False
    ended: float = 0.0

    @property
    def status(self) -> int:
        """Exit code; negative for a signal."""
        return self.code if self.code is not None else -(self.signal or signal.SIGKILL)

    @property
    def shell_code(self) -> int:
        """Exit code as a shell gives it: 137 for SIGKILL."""
        return self.status if self.status >= 0 else 128 - self.status


class RunningHost:
    """Starts a host once, asks how it is, ends it."""

    def __init__(self, job: JobFolder, folder: HostFolder, log: LogFollower) -> None:
        self.job, self.folder, self.log = job, folder, log
        self.exit: HostExit | None = None
        self._stub: dict[str, Any] | None = None
        self._started_at, self._starts = 0.0, 0
        self._unclaimed: Detached | None = None
        self._pidfd: int | None = None

    @property
    def claimed(self) -> bool:
        """Whether its script was started, by whichever supervisor."""
        return self.folder.process.exists()

    @property
    def reachable(self) -> bool:
        """Whether it can be told to end, or need not be."""
        return self._stub is not None or self.exit is not None

    def started(self, stub: Detached | None = None) -> None:
        """Its start was asked for just now, of the launcher or by starting `stub`."""
        self._started_at, self._starts = time.monotonic(), self._starts + 1
        self._unclaimed = stub

    def look(self) -> None:
        """See whether it has ended; start it again if nobody ever claimed it."""
        if self.exit is not None:
            return
        self.exit = self._read_exit()
        if self.exit is not None:
            return
        self._stub = self._stub or read_identity(self.folder.process)
        if self._stub is None:
            self._wait_for_claim()
        elif not is_alive(self._stub):
            # It may have written its report between the two looks.
            self.exit = self._read_exit() or self._lost()

    def terminate(self) -> None:
        """Ask the script to end."""
        if self.exit is None and self._stub is not None:
            send(self._stub, signal.SIGTERM)

    def kill(self, *, overdue_s: float) -> None:
        """End the script and all its descendants, at last without the stub's help."""
        if self.exit is not None or self._stub is None:
            return
        if overdue_s < AFTER_KILL_SECONDS:
            send(self._stub, signal.SIGUSR1)
        else:
            send(self._stub, signal.SIGKILL)

    def pidfd(self) -> int | None:
        """Readable when the stub has ended."""
        if self._pidfd is None and self._stub is not None and self.exit is None:
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self._stub["pid"])
        return self._pidfd if self.exit is None else None

    def _wait_for_claim(self) -> None:
        died = self._unclaimed is not None and self._unclaimed.poll() is not None
        if self.claimed or (not died and time.monotonic() - self._started_at < APPEAR_SECONDS):
            return
        if self._starts >= STARTS:
            self.exit = HostExit(code=None, signal=None, lost=True, ended=time.time())
            return
        self.started(start_afresh(self.job, self.folder.name))

    def _read_exit(self) -> HostExit | None:
        try:
            row = json.loads(self.folder.exit.read_bytes())
        except FileNotFoundError:
            return None
        return HostExit(row["code"], row["signal"], row["oom_kills"], ended=row["ended"])

    def _lost(self) -> HostExit:
        assert self._stub is not None
        end_session(self._stub, mark_of(self.job))
        return HostExit(code=None, signal=signal.SIGKILL, lost=True, ended=time.time())
