"""The process that judges a training from its run folder, while it trains.

It has low priority and one thread, holds no PyTorch, and writes only `findings.jsonl` and
`rules.json`. When it falls behind, it judges the newest rows and leaves steps out; `rules.json`
says how often it looked and the widest gap between two looks.

    python -m houndsight.debugger.evaluator RUN_FOLDER --parent PID [--rules JSON]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from houndsight.debugger.history import History
from houndsight.debugger.judge import Judgement, Standing, Verdict, changed, judge
from houndsight.debugger.rules import make_rules
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.tensor_log import Follower, TensorLog
from houndsight.errors import RunError
from houndsight.files import write_atomic
from houndsight.findings import Finding, FindingLog, read_findings

__all__ = ["Evaluator", "judge_folder", "start_evaluator", "write_verdicts"]

FORMAT_VERSION = 1
EVERY_SECONDS = 1.0
"""The shortest time between two looks."""
CPU_SHARE = 0.02
"""Of one core, what looking may take in the long run."""
GROWTH, FEWEST_NEW_STEPS = 0.25, 20
"""A finding is written again when it has gone on for this share of its length and these steps."""
AWAIT_SECONDS = 60.0
"""How long a training may take until its log appears."""


class Evaluator:
    """Judges one run folder again and again, and writes what is new.

    Args:
        run_folder: where the tensor log is, and where findings and verdicts go.
        rules: who judges.
        left_out: rules that do not, with the reason, to stand beside the verdicts.
        clock: gives the time in seconds since the epoch.
    """

    def __init__(
        self,
        run_folder: Path,
        rules: Sequence[Rule],
        *,
        left_out: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run_folder = run_folder
        self.rules = list(rules)
        self._left_out = [
            Verdict(name, Standing.NOT_APPLICABLE, reason)
            for name, reason in (left_out or {}).items()
        ]
        self._clock = clock
        self._findings_file = run_folder / "findings.jsonl"
        names = {rule.name for rule in self.rules} | {"RuleFailed"}
        self._said = [f for f in read_findings(self._findings_file) if f.rule in names]
        self._follower: Follower | None = None
        self._ranks: list[tuple[Follower, History]] = []
        self._history: History | None = None
        self._looks, self._seconds, self._widest_gap, self._last_step = 0, 0.0, 0, 0

    def look(self, *, last: bool = True) -> list[Finding]:
        """Read what is new, judge, write what changed; returns all that is said now.

        Unless it is the last look, a finding whose figures alone go on growing waits.
        """
        begun = time.process_time()
        if not self._read():
            return []
        assert self._history is not None
        judgement = judge(self.rules, self._history)
        news = changed(self._said, judgement.findings)
        if not (last or self.ended):
            known = {finding.key: finding for finding in self._said}
            news = [f for f in news if f.key not in known or _matters(known[f.key], f)]
        FindingLog(self._findings_file).write(news)
        said = _merged(self._said, judgement.findings)
        self._said = list(({f.key: f for f in self._said} | {f.key: f for f in news}).values())
        self._looks += 1
        step = self._history.last_step
        self._widest_gap = max(self._widest_gap, step - self._last_step)
        self._last_step = step
        self._seconds += time.process_time() - begun
        self._write_verdicts(judgement)
        return said

    def follow(self, going_on: Callable[[], bool], *, sleep: Callable[[float], None]) -> None:
        """Look until the training has ended or `going_on` says no, then once more."""
        while going_on() and not self.ended:
            begun = time.process_time()
            self.look(last=False)
            sleep(max(EVERY_SECONDS, (time.process_time() - begun) / CPU_SHARE))
        self.look()

    @property
    def ended(self) -> bool:
        """Whether the training said that it ended."""
        return self._follower is not None and self._follower.log.ended

    def _read(self) -> bool:
        """Take in new rows of all ranks; False while there is no log."""
        if self._history is None:
            try:
                log = TensorLog(self.run_folder)
                self._history = History(log.structure())
            except RunError:
                return False
            self._follower = log.follow()
        assert self._follower is not None
        with contextlib.suppress(RunError):
            self._history.structure = self._follower.log.structure()
        self._follow_other_ranks()
        self._history.add(self._follower.rows())
        for follower, history in self._ranks:
            history.add(follower.rows())
        self._history.ranks = tuple(history for _, history in self._ranks)
        self._history.ended = self.ended
        self._history.at(self._clock())
        return True

    def _follow_other_ranks(self) -> None:
        assert self._follower is not None
        known = {self._follower.log.folder} | {f.log.folder for f, _ in self._ranks}
        for folder in sorted(self._follower.log.folder.parent.glob("rank-*")):
            with contextlib.suppress(RunError):
                if folder not in known:
                    log = TensorLog(folder)
                    self._ranks.append((log.follow(), History(log.structure())))

    def _write_verdicts(self, judgement: Judgement) -> None:
        write_verdicts(
            self.run_folder,
            [*judgement.verdicts, *self._left_out],
            step=self._last_step,
            looks=self._looks,
            widest_gap_steps=self._widest_gap,
            cpu_seconds=round(self._seconds, 3),
            ended=self.ended,
        )


def write_verdicts(run_folder: Path, verdicts: Iterable[Verdict], **figures: Any) -> None:
    """Replace `rules.json`: what became of each rule, and what the evaluator says of itself."""
    record = {"v": FORMAT_VERSION, **figures, "rules": [asdict(verdict) for verdict in verdicts]}
    write_atomic(run_folder / "rules.json", json.dumps(record).encode())


def judge_folder(
    run_folder: Path,
    rules: Sequence[Rule] | None = None,
    *,
    left_out: Mapping[str, str] | None = None,
    now: float | None = None,
) -> list[Finding]:
    """Judge a recorded run once and write its findings; returns them, the gravest first.

    See `Evaluator`; without `rules` all of them judge.

    Raises:
        RunError: the folder holds no tensor log.
    """
    TensorLog(run_folder)
    clock = time.time if now is None else lambda: now
    evaluator = Evaluator(
        run_folder,
        make_rules("default") if rules is None else rules,
        left_out=left_out,
        clock=clock,
    )
    return sorted(evaluator.look(), key=lambda finding: finding.severity.rank)


def start_evaluator(
    run_folder: Path, rules: Mapping[str, Mapping[str, Any]] | str = "default"
) -> subprocess.Popen[bytes]:
    """Start the process for a training in this one; it ends by itself soon after it."""
    command = [sys.executable, "-m", "houndsight.debugger.evaluator", str(run_folder)]
    command += ["--parent", str(os.getpid()), "--rules", json.dumps(rules)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    logs = run_folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "evaluator.log").open("ab") as log:
        # Its own session: Ctrl-C ends the training, and the last steps are judged after that.
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _matters(before: Finding, now: Finding) -> bool:
    """Whether a person would want to hear it again: it changed in kind, or has gone on long."""
    if (before.severity, before.state) != (now.severity, now.state):
        return True
    if before.causes[0].name != now.causes[0].name or None in (before.last_step, now.last_step):
        return True
    assert before.last_step is not None and now.last_step is not None
    lasted = before.last_step - (before.first_step or 0)
    return now.last_step - before.last_step >= max(GROWTH * lasted, FEWEST_NEW_STEPS)


def _merged(before: Sequence[Finding], now: Sequence[Finding]) -> list[Finding]:
    """What readers of `findings.jsonl` now see."""
    current = {finding.key: finding for finding in now}
    gone = [finding.resolved() for finding in before if finding.key not in current]
    return [*current.values(), *gone]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sleeps(going_on: Callable[[], bool]) -> Callable[[float], None]:
    """Sleep in short pieces, so that the end of the training is noticed."""

    def sleep(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and going_on():
            time.sleep(min(0.2, max(until - time.monotonic(), 0)))

    return sleep


def _main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--rules", type=json.loads, default="default")
    options = parser.parse_args(arguments)
    with contextlib.suppress(OSError):
        os.nice(19)
    evaluator = Evaluator(options.folder, make_rules(options.rules))
    first = time.monotonic()

    def going_on() -> bool:
        waiting = evaluator._follower is None and time.monotonic() - first > AWAIT_SECONDS
        return _alive(options.parent) and not waiting and not evaluator.ended

    evaluator.follow(going_on, sleep=_sleeps(going_on))


if __name__ == "__main__":
    _main()
