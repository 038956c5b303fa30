"""`status.json` as its supervisor writes it: a change of state at once, small news in bundles."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from houndsight.jobs.layout import JobFolder
from houndsight.jobs.status import JobState, JobStatus

__all__ = ["BALLAST_BYTES", "StatusFile"]

BUNDLE_SECONDS = 1.0
BALLAST_BYTES = 256 << 10
"""Given up when the disk is full, so that how the job ended can still be written."""
RETRY_SECONDS = 1.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class StatusFile:
    """The job's status in memory and on disk; several threads may change it.

    Args:
        say: told of a disk that is full.
    """

    def __init__(self, folder: JobFolder, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._written_at = 0.0
        self._dirty = False
        self._ballast = folder.path / ".ballast"
        self.lock = threading.RLock()
        """Held while the status changes; who holds it has the last word."""
        self.now = JobStatus.read(folder.status)

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        return self.now.state

    def make_room_for_the_end(self) -> None:
        """Take the ballast, while there is room."""
        if not self._ballast.exists():
            try:
                self._ballast.write_bytes(bytes(BALLAST_BYTES))
            except OSError as error:
                self._say(f"No ballast could be taken: {error}")

    def move(self, state: JobState, message: str, **changes: Any) -> None:
        """Change the state and write it, however long the disk stays full."""
        with self.lock:
            assert self.state == state or self.state.may_become(state), f"{self.state} -> {state}"
            if self.state == state and self.now.transitions:
                self.note(**changes)
            else:
                self.now = self.now.moved(state, message, time.time(), **changes)
            self._write(patient=True)
            if state.ended:
                self._ballast.unlink(missing_ok=True)

    def note(self, **changes: Any) -> None:
        """Change what is no change of state; written with the next `save`."""
        with self.lock:
            changed = {name: v for name, v in changes.items() if getattr(self.now, name) != v}
            if changed:
                self.now = replace(self.now, **changed, modified=time.time())
                self._dirty = True

    def save(self) -> None:
        """Write what was noted, at most once a second."""
        with self.lock:
            if self._dirty and time.monotonic() - self._written_at >= BUNDLE_SECONDS:
                self._write(patient=False)

    def _write(self, *, patient: bool) -> None:
        while True:
            self._written_at = time.monotonic()
            try:
                self.now.write(self._folder.status)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                if not patient:
                    return
                if self._ballast.exists():
                    self._ballast.unlink()
                    continue
                self._say(f"The status waits for room on the disk: {error}")
                time.sleep(RETRY_SECONDS)
            else:
                self._dirty = False
                return
