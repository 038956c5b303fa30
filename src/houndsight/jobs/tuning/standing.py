"""How the trials of a tuning job stand together: counters, the best one, what may be retried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from houndsight.jobs.status import JobState
from houndsight.jobs.tuning.plan import Plan
from houndsight.jobs.tuning.trials import JobTrial, latest_attempts

if TYPE_CHECKING:
    from houndsight.jobs.tuning.states import Progress

__all__ = ["Standing", "best_trial", "standing_of"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A tuning job's trials, sorted out."""

    latest: tuple[JobTrial, ...]
    """The last attempt of every trial, by number."""
    running: tuple[JobTrial, ...]
    to_retry: tuple[JobTrial, ...]
    """Failed by no fault of their own, with attempts left."""
    best: JobTrial | None
    not_improving: int

    @property
    def ended(self) -> tuple[JobTrial, ...]:
        """Those that run no longer and are not tried again."""
        again = {trial.name for trial in self.to_retry}
        return tuple(t for t in self.latest if t.ended and t.name not in again)

    @property
    def hopeless(self) -> bool:
        """Whether no trial, ended or running, has a value of the objective."""
        return all(trial.value is None for trial in self.latest)

    def told_in(self, progress: Progress) -> Progress:
        """`progress` with counters and best training job as they are now."""
        ended = self.ended
        states = [trial.status.state for trial in ended]
        failed = states.count(JobState.FAILED)
        succeeded = sum(_succeeded(trial) for trial in ended)
        pending = len(self.latest) - len(ended)
        completed = states.count(JobState.COMPLETED)
        return replace(
            progress,
            counters={
                "Completed": completed,
                "InProgress": len(self.running),
                "RetryableError": len(self.to_retry),
                "NonRetryableError": failed,
                "Stopped": len(ended) - completed - failed,
            },
            objective_counters={
                "Succeeded": succeeded,
                "Pending": pending,
                "Failed": len(ended) - succeeded,
            },
            best="" if self.best is None else self.best.name,
            best_value=None if self.best is None else self.best.value,
            not_improving=self.not_improving,
        )


def standing_of(plan: Plan, trials: Sequence[JobTrial]) -> Standing:
    """Sort the training jobs of a tuning job out."""
    latest = latest_attempts(trials)
    best = best_trial(plan, latest)
    return Standing(
        latest=tuple(latest),
        running=tuple(trial for trial in latest if not trial.ended),
        to_retry=tuple(
            trial
            for trial in latest
            if trial.retryable and trial.attempt < plan.definition(trial.definition).retries
        ),
        best=best,
        not_improving=0 if best is None else _ended_after(best, latest),
    )


def best_trial(plan: Plan, trials: Sequence[JobTrial]) -> JobTrial | None:
    """The best completed trial, or the best stopped one when none completed."""
    usable = [trial for trial in trials if _succeeded(trial)]
    usable = [t for t in usable if t.status.state == JobState.COMPLETED] or usable
    sign = plan.definitions[0].direction.sign

    def rank(trial: JobTrial) -> tuple[float, int]:
        assert trial.value is not None
        return sign * trial.value, trial.number

    return min(usable, key=rank, default=None)


def _succeeded(trial: JobTrial) -> bool:
    return trial.ended and trial.value is not None and trial.status.state != JobState.FAILED


def _ended_after(best: JobTrial, trials: Sequence[JobTrial]) -> int:
    """How many trials with a value ended after the best one did."""
    return sum(_succeeded(t) and _ended_at(t) > _ended_at(best) for t in trials)


def _ended_at(trial: JobTrial) -> tuple[float, int]:
    transitions = trial.status.transitions
    return (transitions[-1].start if transitions else trial.status.modified), trial.number
