"""Starting an endpoint's supervisor, once, detached; and again when it has died."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from houndsight.jobs.layout import EndpointFolder
from houndsight.jobs.local.processes import Detached, is_alive, read_identity

__all__ = ["SupervisorStarter"]

LONGEST_BACK_OFF_S = 30.0
STEADY_S = 60.0


class SupervisorStarter:
    """Keeps one supervisor alive. Its lock keeps it from being two."""

    def __init__(self, folder: EndpointFolder) -> None:
        self._folder = folder
        self._child: Detached | None = None
        self._started = 0.0
        self._back_off_s = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether a supervisor runs, or is just starting."""
        if self._child is not None and self._child.poll() is None:
            return True
        return is_alive(read_identity(self._folder.supervisor))

    def ensure(self) -> None:
        """Start one unless one is there; one that keeps dying is started ever more rarely."""
        now = time.monotonic()
        if self.is_alive:
            if now - self._started > STEADY_S:
                self._back_off_s = 0.0
            return
        if now - self._started < self._back_off_s:
            return
        self._back_off_s = min(LONGEST_BACK_OFF_S, max(0.25, self._back_off_s * 2))
        self._started = now
        command = (sys.executable, "-m", "houndsight.jobs.endpoints.supervisor")
        self._child = Detached(
            [*command, str(self._folder.path)],
            log=self._folder.messages,
            cwd=Path("/"),
            environment={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
