"""Ending workers that nobody is sent to any more: those of an older configuration, or too many.

They are known by their folders alone, so that a supervisor that takes over ends what another has
left. A worker that is asked to leave answers first what it has taken.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from houndsight.jobs.container.clone import remove_tree
from houndsight.jobs.endpoints.prepare import ATTEMPT_MARK
from houndsight.jobs.endpoints.workers import host_of
from houndsight.jobs.local import stub
from houndsight.jobs.local.processes import end_session, is_alive, read_identity, send

__all__ = ["Leaving"]

KILL_S = 30.0
"""How long after SIGKILL a process may take to vanish; then it is left to the system."""


class Leaving:
    """Attempts' folders that are ended and removed."""

    def __init__(
        self, attempts: Sequence[Path], *, grace_s: float, remove: Sequence[Path] = ()
    ) -> None:
        """Ask them to leave.

        Args:
            grace_s: time until they are killed.
            remove: folders to be removed at the end, beside the attempts'.
        """
        now = time.monotonic()
        self._kill_at, self._forget_at = now + grace_s, now + grace_s + KILL_S
        self._killed = False
        self._attempts, self._remove = list(attempts), list(remove)
        self.gone = False
        for attempt in self._attempts:
            host = host_of(attempt)
            if not host.process.exists():
                host.path.mkdir(parents=True, exist_ok=True)
                stub.claim(str(host.path))
            self._send(attempt, signal.SIGTERM)

    @classmethod
    def generation(cls, folder: Path, *, grace_s: float) -> Leaving:
        """All of a generation's folder."""
        return cls(sorted(folder.glob("*/attempts/*")), grace_s=grace_s, remove=[folder])

    def step(self, now: float) -> None:
        """Look whether they have gone; kill them when it is time."""
        if self.gone:
            return
        left = [attempt for attempt in self._attempts if self._is_alive(attempt)]
        if left and now >= self._kill_at and not self._killed:
            self._killed = True
            for attempt in left:
                self._send(attempt, signal.SIGUSR1)
        if left and now < self._forget_at:
            return
        for attempt in self._attempts:
            self._end_rest(attempt)
        for folder in (*self._attempts, *self._remove):
            remove_tree(folder)
        self.gone = True

    def _is_alive(self, attempt: Path) -> bool:
        host = host_of(attempt)
        return not host.exit.exists() and is_alive(self._identity(attempt))

    def _identity(self, attempt: Path) -> dict[str, Any] | None:
        """Of its stub; None where this process has taken its place."""
        identity = read_identity(host_of(attempt).process)
        return None if identity is None or identity["pid"] == os.getpid() else identity

    def _send(self, attempt: Path, number: int) -> None:
        identity = self._identity(attempt)
        if identity is not None:
            send(identity, number)

    def _end_rest(self, attempt: Path) -> None:
        identity = self._identity(attempt)
        if identity is not None and not host_of(attempt).exit.exists():
            end_session(identity, f"{ATTEMPT_MARK}={attempt}")
