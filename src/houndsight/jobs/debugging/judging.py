"""The process that judges a job: its rules, its profiler's rules, and the report at the end.

It waits without NumPy until there is something to judge, has low priority and one thread, and
leaves when the job's script has ended and all is said, or when its supervisor has died.

    python -m houndsight.jobs.debugging.judging JOB_FOLDER --parent PID
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.files import write_atomic
from houndsight.jobs.debugging.asked import Asked, read_debug_rules, read_profiler_rules
from houndsight.jobs.debugging.places import Places, model_folders
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import TrainingSpec

if TYPE_CHECKING:
    from houndsight.debugger.evaluator import Evaluator

__all__ = ["Judge", "main"]

EVERY_SECONDS = 1.0
LOOK_SHARE = 0.05
"""Of one core, what looking may take in the long run."""
PROFILER_SECONDS = 60.0
"""SageMaker's scan interval."""
LOCK_SECONDS = 10.0


class Judge:
    """Judges one job until it has ended.

    Args:
        spec: what the job asks for.
        places: of the job.
        begin: when its script was started, seconds since the epoch.
    """

    def __init__(self, spec: TrainingSpec, places: Places, *, begin: float) -> None:
        self.spec, self.places, self.begin = spec, places, begin
        self.rules = read_debug_rules(spec.debug_rules)
        self.profiler_rules = read_profiler_rules(spec.profiler_rules)
        self._evaluators: dict[Path, Evaluator] = {}
        self._which: dict[str, dict[str, str]] | None = None
        self._profiled = 0.0

    def refuse(self) -> None:
        """Say at once which rules cannot be judged; needs what the rules need."""
        if not self.rules:
            return
        refused = {}
        for asked in self.rules:
            reason = asked.refusal or _why_not(asked)
            if reason:
                refused[asked.configuration] = reason
        write_atomic(self.places.refused, json.dumps(refused).encode())

    def look(self, *, last: bool) -> None:
        """Let the rules judge what is new in every model's log."""
        folders = model_folders(self.places.run)
        if not folders:
            return
        from houndsight.debugger.evaluator import Evaluator
        from houndsight.debugger.rules import make_rules

        for folder in folders:
            if folder not in self._evaluators:
                self._evaluators[folder] = Evaluator(folder, make_rules(self._choice()))
            with contextlib.suppress(FileNotFoundError):
                self._evaluators[folder].look(last=last)

    def profile(self, *, last: bool) -> None:
        """Let the profiler's rules judge, when it is time; `last` writes their report as well."""
        if not self.profiler_rules or (
            not last and time.monotonic() - self._profiled < PROFILER_SECONDS
        ):
            return
        from houndsight.jobs.debugging.profiler.scan import scan

        self._profiled = time.monotonic()
        scan(self.spec, self.places, self.profiler_rules, begin=self.begin, last=last)

    def _choice(self) -> dict[str, dict[str, str]]:
        """All rules, those that were asked for with their parameters."""
        if self._which is None:
            from houndsight.debugger.rules import RULES, make_rules

            self._which = {name: {} for name in RULES}
            for asked in self.rules:
                if not (asked.refusal or _why_not(asked)):
                    name = make_rules({asked.rule: asked.parameters})[0].name
                    self._which[name] = dict(asked.parameters)
        return self._which


def _why_not(asked: Asked) -> str:
    """Why there is no such rule, or none with these parameters, for a network for images."""
    from houndsight.debugger.rules import make_rules
    from houndsight.debugger.rules.unsupported import UNSUPPORTED
    from houndsight.errors import HoundsightError

    try:
        made = make_rules({asked.rule: asked.parameters})
    except HoundsightError as error:
        return str(error)
    if len(made) != 1:
        return f"{asked.rule!r} names {len(made)} rules; ask for each by its name."
    return str(getattr(UNSUPPORTED.get(made[0].name), "reason", ""))


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(arguments)
    places = Places(JobFolder(options.folder))
    with contextlib.suppress(OSError):
        os.nice(10)
    with _locked(places.judge_lock) as held:
        if held and not places.judged.exists():
            judge = Judge(TrainingSpec.read(places.folder.spec), places, begin=time.time())
            follow(judge, lambda: _alive(options.parent))


def follow(judge: Judge, supervised: Callable[[], bool]) -> None:
    """Judge until the script has ended, then once more; without a supervisor nothing is left."""
    ended = judge.places.ended
    _guarded(judge.refuse)
    while supervised() and not ended.exists():
        begun = time.process_time()
        _guarded(judge.look, last=False)
        _guarded(judge.profile, last=False)
        spent = time.process_time() - begun
        until = time.monotonic() + max(EVERY_SECONDS, spent / LOOK_SHARE)
        while time.monotonic() < until and supervised() and not ended.exists():
            time.sleep(0.1)
    if ended.exists():
        _guarded(judge.look, last=True)
        _guarded(judge.profile, last=True)
        write_atomic(judge.places.judged, b"{}\n")


def _guarded(function: Any, **options: Any) -> None:
    """A fault of one part leaves the others at work; the log has it."""
    try:
        function(**options)
    except Exception:
        traceback.print_exc()


@contextlib.contextmanager
def _locked(path: Path) -> Any:
    """Hold the lock of a job's judge; False when another one goes on holding it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + LOCK_SECONDS
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    yield False
                    return
                time.sleep(0.1)
            else:
                yield True
                return


def _alive(process: int) -> bool:
    # The supervisor is the parent; whoever takes over an orphan is not.
    return os.getppid() == process


if __name__ == "__main__":
    main(sys.argv[1:])
