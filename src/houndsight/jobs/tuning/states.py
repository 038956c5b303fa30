"""The states of a tuning job and what each makes it do.

::

    Searching ─► Finishing ─► Completed   (some trial has a value of the objective)
        │            │     └► Failed      (none has)
        └──────┬─────┘
               └─► Stopping ─► Stopped    (asked to, or MaxRuntimeInSeconds is over)

Searching starts trials; finishing starts none but waits for those that run, or stops them when
the aim is reached or the search is hopeless; stopping stops them. `decide` is a pure function of
the request, the state and the trials: whoever asks again after a crash gets the same answer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from houndsight.errors import RunError
from houndsight.jobs.tuning.plan import CONVERGENCE_PATIENCE, Plan
from houndsight.jobs.tuning.standing import Standing
from houndsight.jobs.tuning.trials import JobTrial

__all__ = ["Decision", "Progress", "TuningState", "decide"]

VERSION = 1
FAILURES_BEFORE_GIVING_UP = 5
"""When the first so many trials have no value of the objective, the rest would have none."""


class TuningState(enum.StrEnum):
    """Where a tuning job stands."""

    SEARCHING = "Searching"
    FINISHING = "Finishing"
    STOPPING = "Stopping"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in (TuningState.COMPLETED, TuningState.FAILED, TuningState.STOPPED)

    @property
    def primary(self) -> str:
        """SageMaker's `HyperParameterTuningJobStatus`."""
        searching = self in (TuningState.SEARCHING, TuningState.FINISHING)
        return "InProgress" if searching else self.value


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A tuning job's detail in the store. Times are epoch seconds."""

    state: TuningState = TuningState.SEARCHING
    reason: str = ""
    """Why it starts no more trials."""
    failure_reason: str = ""
    stop_trials: bool = False
    """Whether the trials that run are to be stopped."""
    counters: Mapping[str, int] = field(default_factory=dict)
    objective_counters: Mapping[str, int] = field(default_factory=dict)
    best: str = ""
    """Name of the best training job of this tuning job."""
    best_value: float | None = None
    overall_best: str = ""
    """Name of the best one of this and its parents, for a warm start on identical data."""
    not_improving: int = 0
    """Trials that have ended since the best one."""
    converged: float | None = None
    ended: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return {"format": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """From what `to_json` made.

        Raises:
            RunError: a newer version made it.
        """
        if row.get("format", 0) > VERSION:
            raise RunError("A tuning job was written by a newer Houndsight: update Houndsight.")
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in row.items() if name in known}
        if "state" in values:
            values["state"] = TuningState(values["state"])
        return cls(**values)


@dataclass(frozen=True)
class Decision:
    """What to do now."""

    progress: Progress
    launch: int = 0
    """How many new trials to start."""
    retry: tuple[JobTrial, ...] = ()
    stop: tuple[str, ...] = ()
    """Training jobs to stop."""


def decide(plan: Plan, progress: Progress, standing: Standing, now: float) -> Decision:
    """The next state, and what it makes the tuning job do."""
    counted = standing.told_in(progress)
    if counted.state.ended:
        return Decision(counted)
    timed_out = plan.max_runtime_s is not None and now - plan.created >= plan.max_runtime_s
    if timed_out and counted.state != TuningState.STOPPING:
        reason = f"MaxRuntimeInSeconds, {plan.max_runtime_s} s, is over"
        counted = replace(counted, state=TuningState.STOPPING, reason=reason)
    if counted.state == TuningState.STOPPING:
        return _stopping(counted, standing.running, now)
    if counted.state == TuningState.SEARCHING:
        counted = _finishing_when_due(plan, counted, standing, now)
    return _going_on(plan, counted, standing, now)


def _stopping(progress: Progress, running: Sequence[JobTrial], now: float) -> Decision:
    if not running:
        return Decision(replace(progress, state=TuningState.STOPPED, ended=now))
    return Decision(progress, stop=_stoppable(running))


def _finishing_when_due(plan: Plan, progress: Progress, standing: Standing, now: float) -> Progress:
    """Whether the search is over, and why."""
    reason, hurry, converged = "", True, None
    best, done = standing.best, len(standing.ended)
    if best is not None and plan.target is not None and _reaches(plan, best.value):
        reason = f"the objective reached its target, {plan.target:g}"
    elif standing.hopeless and done >= FAILURES_BEFORE_GIVING_UP:
        reason = f"none of the first {done} training jobs has a value of the objective"
    elif plan.patience is not None and standing.not_improving >= plan.patience:
        reason = f"the objective has not improved in {standing.not_improving} training jobs"
    elif plan.converges and standing.not_improving >= CONVERGENCE_PATIENCE:
        reason, converged = "the objective has converged", now
    elif len(standing.latest) >= plan.max_jobs:
        reason, hurry = f"all {plan.max_jobs} training jobs were started", False
    if not reason:
        return progress
    return replace(
        progress,
        state=TuningState.FINISHING,
        reason=reason,
        stop_trials=hurry,
        converged=converged,
    )


def _going_on(plan: Plan, progress: Progress, standing: Standing, now: float) -> Decision:
    retry = () if progress.stop_trials else standing.to_retry
    free = max(0, plan.max_parallel - len(standing.running))
    retry = retry[:free]
    if progress.state == TuningState.SEARCHING:
        left = plan.max_jobs - len(standing.latest)
        return Decision(progress, launch=min(free - len(retry), left), retry=retry)
    if standing.running or retry:
        stop = _stoppable(standing.running) if progress.stop_trials else ()
        return Decision(progress, retry=retry, stop=stop)
    end = TuningState.FAILED if standing.best is None else TuningState.COMPLETED
    return Decision(replace(progress, state=end, ended=now))


def _stoppable(running: Sequence[JobTrial]) -> tuple[str, ...]:
    return tuple(trial.name for trial in running if not trial.stopping)


def _reaches(plan: Plan, value: float | None) -> bool:
    assert plan.target is not None and value is not None
    direction = plan.definitions[0].direction
    return value == plan.target or direction.better(value, plan.target)
