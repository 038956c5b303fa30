"""One trial from its proposal to its record, in this process or in one of its own."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from typing import Any

from houndsight.errors import SettingError
from houndsight.tuning.history import History, TrialRecord, TrialState
from houndsight.tuning.parameters import Value
from houndsight.tuning.stopping import EarlyStopping
from houndsight.tuning.strategies.base import RunningTrial, Strategy

__all__ = ["Evaluate", "Trial", "evaluate_here", "evaluate_in_process", "record_of"]

ERROR_LENGTH = 500


@dataclass
class Trial:
    """A trial under way: what it should try, and whom it reports to."""

    number: int
    parameters: dict[str, Value]
    history: History
    strategy: Strategy
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    intermediate: list[tuple[int, float]] = field(default_factory=list)
    stopped: bool = False
    """Whether `should_stop` has said yes."""

    def report(self, value: float, *, step: int) -> None:
        """Say how good the objective is at `step` (an epoch, say), which grows from 0 or 1."""
        self.intermediate.append((int(step), float(value)))

    def should_stop(self) -> bool:
        """Whether the trial should return now with what it has."""
        so_far = RunningTrial(self.number, self.parameters, tuple(self.intermediate))
        self.stopped = (
            self.stopped
            or self.strategy.should_stop(self.history, so_far)
            or self.early_stopping.ends_trial(self.history, so_far)
        )
        return self.stopped


Evaluate = Callable[[Trial], Mapping[str, float]]
"""Trains with `trial.parameters` and returns the metrics, the objective among them."""


def evaluate_here(evaluate: Evaluate, trial: Trial, objective: str) -> TrialRecord:
    """The record of a trial; an exception makes it a failed one."""
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        outcome: Mapping[str, float] | Exception = evaluate(trial)
    except Exception as error:  # a trial may fail in any way and must hurt nothing else
        outcome = error
    return record_of(
        trial, outcome, objective, seconds=time.perf_counter() - clock, started=started
    )


def record_of(
    trial: Trial,
    outcome: Mapping[str, float] | Exception,
    objective: str,
    *,
    seconds: float,
    started: datetime,
) -> TrialRecord:
    """The record of a trial that returned metrics or raised."""
    metrics, error = _checked(outcome, objective)
    state = TrialState.STOPPED if trial.stopped else TrialState.COMPLETED
    return TrialRecord(
        number=trial.number,
        parameters=trial.parameters,
        state=TrialState.FAILED if error else state,
        value=None if error else metrics[objective],
        metrics=metrics,
        intermediate=tuple(trial.intermediate),
        seconds=round(seconds, 4),
        started=started.isoformat(timespec="milliseconds"),
        error=error[:ERROR_LENGTH],
    )


def _checked(
    outcome: Mapping[str, float] | Exception, objective: str
) -> tuple[dict[str, float], str]:
    """The metrics as floats, and what is wrong with them."""
    if isinstance(outcome, Exception):
        return {}, f"{type(outcome).__name__}: {outcome}".strip(": ")
    try:
        metrics = {str(name): float(value) for name, value in outcome.items()}
    except (AttributeError, TypeError, ValueError):
        return {}, f"the trial returned {outcome!r}, not a number by metric name"
    if objective not in metrics:
        return metrics, f"the trial returned {', '.join(metrics) or 'nothing'} but no {objective}"
    if not math.isfinite(metrics[objective]):
        return metrics, f"{objective} is {metrics[objective]}"
    return metrics, ""


def evaluate_in_process(evaluate: Evaluate, trial: Trial, objective: str) -> TrialRecord:
    """As `evaluate_here`, in a new process, whose death makes a failed trial and nothing worse.

    Raises:
        SettingError: `evaluate` cannot be sent to another process.
    """
    try:
        pickle.dumps((evaluate, trial))
    except Exception as error:  # pickling runs anybody's code
        raise SettingError(
            f"Trials in processes need an evaluate function at the top of a module: {error}. "
            "Move it there or use threads."
        ) from error
    started, clock = datetime.now(UTC), time.perf_counter()
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, evaluate, trial, objective))
    process.start()
    sender.close()
    try:
        record = receiver.recv()
        assert isinstance(record, TrialRecord)
    except EOFError:
        process.join()
        death = RuntimeError(f"its process ended with exit code {process.exitcode}")
        seconds = time.perf_counter() - clock
        record = record_of(trial, death, objective, seconds=seconds, started=started)
    finally:
        receiver.close()
    process.join()
    return record


def _child(sender: Connection, evaluate: Evaluate, trial: Trial, objective: str) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sender.send(evaluate_here(evaluate, trial, objective))
    sender.close()


def _die_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    os._exit(1)
