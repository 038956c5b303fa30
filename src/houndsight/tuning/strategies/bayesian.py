"""Bayesian search: where the good trials are dense and the bad ones are not."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.samplers import TPESampler

from houndsight.errors import SettingError
from houndsight.tuning.history import History
from houndsight.tuning.parameters import Value
from houndsight.tuning.strategies.base import Strategy, trial_seed
from houndsight.tuning.strategies.study import ask, study_of

__all__ = ["Bayesian"]


@dataclass(frozen=True)
class Bayesian(Strategy):
    """Tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023), by Optuna.

    The first `startup` trials are random. Pending trials count as bad ones, so that a batch
    spreads out.
    """

    startup: int = 10
    """Trials with a value before the estimator is trusted."""

    def __post_init__(self) -> None:
        if self.startup < 1:
            raise SettingError(f"Bayesian's startup is {self.startup}; it must be at least 1.")

    def suggest(self, history: History) -> dict[str, Value]:
        """The candidate with the best ratio of good to bad density."""
        sampler = TPESampler(n_startup_trials=self.startup, seed=trial_seed(history))
        return ask(study_of(history, sampler), history.space)
