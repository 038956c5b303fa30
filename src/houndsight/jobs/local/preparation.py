"""While a job is made ready: a request to stop it is followed at once, whatever it is busy with."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from houndsight.jobs.layout import JobFolder
from houndsight.jobs.local.statusfile import StatusFile
from houndsight.jobs.local.stub import descendants, process_table
from houndsight.jobs.status import JobState

__all__ = ["stoppable"]

LOOK_SECONDS = 0.2


@contextmanager
def stoppable(folder: JobFolder, status: StatusFile) -> Iterator[None]:
    """Within the block, `stop` ends this process, the job being stopped.

    Nothing of the script has begun, and whatever the block does is made to survive SIGKILL.
    """
    done = threading.Event()
    deciding = threading.Lock()

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            if folder.stop.exists():
                with deciding:
                    if not done.is_set():
                        _stop_here(status)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with deciding:
            done.set()


def _stop_here(status: StatusFile) -> None:
    # The thread that makes the job ready must not write that it goes on.
    with status.lock:
        for pid in descendants(os.getpid(), process_table()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        status.move(JobState.STOPPING, "Stopping the training job")
        status.move(JobState.STOPPED, "Training job stopped")
        os._exit(0)
