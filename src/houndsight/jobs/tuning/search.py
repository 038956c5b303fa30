"""What to try next, and which running trial is not worth going on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from houndsight.jobs.tuning.plan import Definition, Plan
from houndsight.jobs.tuning.trials import JobTrial, Reports, record_of
from houndsight.tuning.history import TrialRecord
from houndsight.tuning.ledger import Ledger
from houndsight.tuning.parameters import Value
from houndsight.tuning.stopping import EarlyStopping
from houndsight.tuning.strategies import Hyperband, RunningTrial, Strategy, make_strategy

__all__ = ["Search"]


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
        self._reports, self._strategy = reports, _strategy(plan)
        self._early_stopping = EarlyStopping(trials="median" if plan.early_stopping else "off")
        self._trials = list(trials)
        self._ledger = Ledger(
            space=definition.space,
            strategy=self._strategy,
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
        hopeless = self._early_stopping.ends_trial(everybody, running)
        return hopeless or self._strategy.should_stop(history, running)


def _strategy(plan: Plan) -> Strategy:
    if plan.strategy == "Hyperband":
        least, most = plan.resources
        return Hyperband(min_resource=least, max_resource=most)
    return make_strategy(plan.strategy)
