"""Hyperband: many short trials, few long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from houndsight.errors import SettingError
from houndsight.tuning import history as records
from houndsight.tuning.history import History, TrialRecord
from houndsight.tuning.parameters import Value
from houndsight.tuning.strategies.base import RunningTrial, Strategy, trial_seed
from houndsight.tuning.strategies.study import ask, empty_study, frozen, study_of

__all__ = ["Hyperband"]


@dataclass(frozen=True)
class Hyperband(Strategy):
    """Hyperband (Li et al. 2018) with asynchronous halving, trials drawn as in BOHB.

    Trials report their objective by step, and at 1, 3, 9 … times `min_resource` only the best
    third goes on; brackets differ in how early they start to stop (Falkner et al. 2018 for the
    Parzen estimator within a bracket). A trial that reports nothing is never stopped.
    """

    min_resource: int = 1
    """Steps, as reported, before a trial may be stopped."""
    max_resource: int | None = None
    """Steps of a whole trial; None takes the first completed trial's."""
    reduction_factor: int = 3
    """One in so many goes on."""
    startup: int = 10
    """Trials of a bracket before the estimator is trusted."""

    def __post_init__(self) -> None:
        for name, least in (("min_resource", 1), ("reduction_factor", 2), ("startup", 1)):
            value = getattr(self, name)
            if value < least:
                raise SettingError(f"Hyperband's {name} is {value}; it must be at least {least}.")
        if self.max_resource is not None and self.max_resource < self.min_resource:
            raise SettingError(
                f"Hyperband's max_resource is {self.max_resource}; "
                f"it must be at least min_resource, {self.min_resource}."
            )

    def suggest(self, history: History) -> dict[str, Value]:
        """What the Parzen estimator of the trial's bracket proposes."""
        sampler = TPESampler(n_startup_trials=self.startup, seed=trial_seed(history))
        return ask(study_of(history, sampler, self._pruner()), history.space)

    def should_stop(self, history: History, trial: RunningTrial) -> bool:
        """Whether the trial's last report reaches a rung of its bracket and is not good enough."""
        reports = self._reaching_rungs(trial.intermediate)
        if not reports or reports[-1] != trial.intermediate[-1]:
            return False
        alone = replace(history, finished=(), pending=(), earlier=())
        study = empty_study(alone, TPESampler(seed=0), self._pruner())
        for record in (*history.earlier, *history.finished):
            self._replay(study, history, record)
        for _ in history.pending:  # they only keep the numbers, and so the brackets, in step
            study.tell(study.ask(), state=TrialState.FAIL)
        return _report(study.ask(), reports)

    def _replay(self, study: optuna.Study, history: History, record: TrialRecord) -> None:
        """Let the pruner see a past trial's reports, so that it fills the bracket's rungs."""
        if record.state == records.TrialState.FAILED or not record.intermediate:
            study.add_trial(frozen(history.space, record))
            return
        running = study.ask()
        _report(running, self._reaching_rungs(record.intermediate))
        stopped = record.state == records.TrialState.STOPPED
        study.tell(
            running,
            None if stopped else record.value,
            state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
        )

    def _reaching_rungs(self, reports: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        """The reports that are the first at or after a rung; the others decide nothing."""
        reaching, rung = [], self.min_resource
        for step, value in reports:
            if step >= rung:
                reaching.append((step, value))
            while rung <= step:
                rung *= self.reduction_factor
        return reaching

    def _pruner(self) -> HyperbandPruner:
        return HyperbandPruner(
            min_resource=self.min_resource,
            max_resource="auto" if self.max_resource is None else self.max_resource,
            reduction_factor=self.reduction_factor,
        )


def _report(running: optuna.Trial, reports: Sequence[tuple[int, float]]) -> bool:
    """Let the pruner see each report; its verdict on the last."""
    stop = False
    for step, value in reports:
        running.report(value, step)
        stop = running.should_prune()
    return stop
