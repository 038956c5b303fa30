"""What accompanies a running job and must never harm it: rules, profiler, checkpoints."""

from __future__ import annotations

import contextlib
import importlib
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import RuleStatus

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["Attendance"]

ATTENDANT = "houndsight.jobs.debugging.attend"
Statuses = Mapping[str, RuleStatus]


class Attendance:
    """Every fault of what accompanies is told in the supervisor's log, and nowhere else."""

    def __init__(self, spec: TrainingSpec, folder: JobFolder, objects: ObjectStore) -> None:
        self._checkpoints: Any = None
        self._attendant: Any = None
        self._uploading: threading.Thread | None = None
        with self._guarded():
            from houndsight.jobs.container.finish import CheckpointSync

            self._checkpoints = CheckpointSync(spec, folder, objects) if spec.checkpoint else None
        if spec.debug_hook or spec.debug_rules or spec.profiler or spec.profiler_rules:
            with self._guarded():
                module = importlib.import_module(ATTENDANT)
                self._attendant = module.Attendant(spec, folder, objects)

    def environment(self) -> Mapping[str, str]:
        """What every host's environment gets besides."""
        with self._guarded():
            if self._attendant is not None:
                extra: Mapping[str, str] = self._attendant.environment()
                return extra
        return {}

    def start(self) -> None:
        """Before the scripts start, and again in a supervisor that takes over."""
        with self._guarded():
            if self._attendant is not None:
                self._attendant.start()

    def poll(self) -> tuple[Statuses, Statuses] | None:
        """How the rules stand; None without rules."""
        with self._guarded():
            if self._attendant is not None:
                rules: tuple[Statuses, Statuses] = self._attendant.poll()
                return rules
        return None

    def upload(self) -> None:
        """Bring what is new to the object store, in a thread: archives may take long."""
        if self._uploading is None or not self._uploading.is_alive():
            self._uploading = threading.Thread(target=self._upload, daemon=True)
            self._uploading.start()

    def finish(self, *, succeeded: bool, stopped: bool) -> tuple[Statuses, Statuses] | None:
        """After the scripts have ended: the last look of the rules, the last uploads."""
        if self._uploading is not None:
            self._uploading.join()
        with self._guarded():
            if self._attendant is not None:
                rules: tuple[Statuses, Statuses] = self._attendant.finish(
                    succeeded=succeeded, stopped=stopped
                )
                return rules
        return None

    def _upload(self) -> None:
        for part, method in ((self._checkpoints, "sync"), (self._attendant, "upload")):
            with self._guarded():
                if part is not None:
                    getattr(part, method)()

    def _guarded(self) -> contextlib.AbstractContextManager[None]:
        return _told(traceback.print_exc)


@contextlib.contextmanager
def _told(tell: Callable[[], None]) -> Any:
    try:
        yield
    except Exception:
        tell()
