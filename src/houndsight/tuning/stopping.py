"""When a search ends before its last trial, and when a trial ends before its last step."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from houndsight.errors import SettingError
from houndsight.tuning.history import Direction, History, TrialRecord, TrialState
from houndsight.tuning.strategies.base import RunningTrial

__all__ = ["EarlyStopping", "all_failed", "no_improvement", "worse_than_median"]

FAILURES_BEFORE_GIVING_UP = 5
"""When the first so many trials all fail, the rest would too."""


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """What a search gives up on. The default gives up on nothing."""

    patience: int | None = None
    """End the search after so many trials in a row without a better one."""
    minimum_improvement: float = 0.0
    """What counts as better, in the objective's units."""
    trials: str = "off"
    """`median`: stop a trial worse than the median of the others at its step (SageMaker's
    `Auto`); `off`: never. A strategy such as Hyperband stops trials by itself as well."""
    startup: int = 5
    """The median rule wants so many trials to compare with."""
    warmup_steps: int = 0
    """The median rule waits until a trial reports this step."""

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"Early stopping's patience is {self.patience}; at least 1.")
        if self.trials not in ("off", "median"):
            raise SettingError(f"Early stopping's trials is {self.trials!r}; off or median.")
        if self.minimum_improvement < 0 or self.startup < 1:
            raise SettingError(
                f"Early stopping's minimum_improvement is {self.minimum_improvement} and its "
                f"startup {self.startup}; they must be at least 0 and 1."
            )

    def ends_search(self, finished: Sequence[TrialRecord], direction: Direction) -> str:
        """Why no trial should follow these, or an empty string."""
        if all_failed(finished):
            return f"the first {len(finished)} trials all failed"
        if self.patience is not None and no_improvement(
            finished, direction, self.patience, self.minimum_improvement
        ):
            return f"no better trial among the last {self.patience}"
        return ""

    def ends_trial(self, history: History, trial: RunningTrial) -> bool:
        """Whether the median rule stops `trial` at its last report."""
        return self.trials == "median" and worse_than_median(
            history, trial, startup=self.startup, warmup_steps=self.warmup_steps
        )


def all_failed(finished: Sequence[TrialRecord]) -> bool:
    """Whether enough trials were made and none has a value."""
    return len(finished) >= FAILURES_BEFORE_GIVING_UP and all(r.value is None for r in finished)


def no_improvement(
    finished: Sequence[TrialRecord], direction: Direction, patience: int, least: float = 0.0
) -> bool:
    """Whether the last `patience` of `finished` (by number) hold no better value than before."""
    values = [direction.sign * record.value for record in finished if record.value is not None]
    if len(values) <= patience:
        return False
    return min(values[-patience:]) >= min(values[:-patience]) - least


def worse_than_median(
    history: History, trial: RunningTrial, *, startup: int = 5, warmup_steps: int = 0
) -> bool:
    """The median stopping rule (Golovin et al. 2017, Vizier, section 3.2.2).

    A trial stops at step s when its best objective so far is strictly worse than the median of
    the other trials' running averages up to s.
    """
    if not trial.intermediate or trial.intermediate[-1][0] < warmup_steps:
        return False
    sign, step = history.direction.sign, trial.intermediate[-1][0]
    averages = [
        statistics.fmean(sign * value for at, value in record.intermediate if at <= step)
        for record in (*history.earlier, *history.finished)
        if record.state != TrialState.FAILED and _spans(record, step)
    ]
    if len(averages) < startup:
        return False
    values = [sign * value for _, value in trial.intermediate if value == value]
    return not values or min(values) > statistics.median(averages)


def _spans(record: TrialRecord, step: int) -> bool:
    """Whether the trial reported before, and went on to, `step`."""
    steps = [at for at, _ in record.intermediate]
    return bool(steps) and min(steps) <= step <= max(steps)
