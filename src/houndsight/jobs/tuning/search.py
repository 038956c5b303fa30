"""What to try next, and which running trial is not worth going on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from houndsight.errors import SettingError
from houndsight.jobs.status import JobState
from houndsight.jobs.tuning.plan import Definition, Plan
from houndsight.jobs.tuning.ranges import parameters_of
from houndsight.jobs.tuning.trials import JobTrial
from houndsight.tuning.history import TrialRecord, TrialState
from houndsight.tuning.ledger import Ledger
from houndsight.tuning.parameters import Value
from houndsight.tuning.strategies import RunningTrial

__all__ = ["Reports", "Search", "record_of"]

Reports = Callable[[JobTrial], tuple[tuple[int, float], ...]]
"""(step, objective) of a trial so far; a step is the how manieth value it is."""


class Search:
    """The search of one training job definition, made anew from its trials for each question.

    Trials that have ended are known, those that run are pending; within a definition they are
    numbered by themselves, as strategies want it.
    """

    def __init__(
        self,
        plan: Plan,
        definition: Definition,
        trials: Sequence[JobTrial],
        *,
        earlier: Sequence[TrialRecord] = (),
        reports: Reports,
    ) -> None:
        self._plan, self._definition, self._reports = plan, definition, reports
        self._trials = list(trials)
        self._ledger = Ledger(
            space=definition.space,
            strategy=plan.strategy,
            objective=definition.objective,
            direction=definition.direction,
            seed=plan.seed,
            earlier=tuple(earlier),
        )
        for index, trial in enumerate(self._trials):
            record = record_of(trial, definition, number=index, reports=reports)
            if record is None:
                continue
            if trial.ended:
                self._ledger.records[index] = record
            else:
                self._ledger.proposals[index] = dict(record.parameters)

    def propose(self) -> dict[str, Value] | None:
        """Parameters of the next trial, or None when nothing is left to try."""
        number = len(self._trials)
        return self._ledger.propose(self._ledger.history(number, number))

    def should_stop(self, trial: JobTrial) -> bool:
        """Whether a running trial is not worth going on with, by what it has reported."""
        index = next(i for i, known in enumerate(self._trials) if known.name == trial.name)
        intermediate = self._reports(trial)
        if not intermediate or index not in self._ledger.proposals:
            return False
        running = RunningTrial(index, self._ledger.proposals[index], intermediate)
        history = self._ledger.history(index, index)
        everybody = replace(history, finished=tuple(self._ledger.records.values()))
        return self._plan.strategy.should_stop(
            history, running
        ) or self._plan.early_stopping.ends_trial(everybody, running)


def record_of(
    trial: JobTrial, definition: Definition, *, number: int, reports: Reports
) -> TrialRecord | None:
    """A trial as the strategies know it; None when its parameters are of another space."""
    try:
        parameters = parameters_of(definition.space, trial.hyperparameters)
    except (SettingError, ValueError):
        return None
    state = TrialState.STOPPED
    if trial.status.state == JobState.COMPLETED:
        state = TrialState.COMPLETED
    failed = trial.status.state == JobState.FAILED or trial.value is None
    return TrialRecord(
        number=number,
        parameters=parameters,
        state=TrialState.FAILED if failed else state,
        value=None if failed else trial.value,
        metrics={} if trial.value is None else {definition.objective: trial.value},
        intermediate=reports(trial),
        error=trial.status.failure_reason,
    )
