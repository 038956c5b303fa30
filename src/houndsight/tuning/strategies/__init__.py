"""Tuning strategies, one a file. To add one: write its file and add a line to `STRATEGIES` here
and to the list in the conformance suite."""

from __future__ import annotations

from houndsight.errors import SettingError
from houndsight.tuning.strategies.base import RunningTrial, Strategy, trial_seed
from houndsight.tuning.strategies.bayesian import Bayesian
from houndsight.tuning.strategies.grid import Grid
from houndsight.tuning.strategies.hyperband import Hyperband
from houndsight.tuning.strategies.random import Random

__all__ = [
    "STRATEGIES",
    "Bayesian",
    "Grid",
    "Hyperband",
    "Random",
    "RunningTrial",
    "Strategy",
    "make_strategy",
    "trial_seed",
]

STRATEGIES: dict[str, type[Strategy]] = {
    "bayesian": Bayesian,
    "random": Random,
    "grid": Grid,
    "hyperband": Hyperband,
}
"""Every strategy by the name the settings use."""


def make_strategy(strategy: Strategy | str) -> Strategy:
    """A strategy by name, with its defaults; a strategy is returned as it is.

    Raises:
        SettingError: there is none of that name.
    """
    if isinstance(strategy, Strategy):
        return strategy
    kind = STRATEGIES.get(str(strategy).lower())
    if kind is None:
        raise SettingError(f"There is no strategy {strategy!r}; there are {', '.join(STRATEGIES)}.")
    return kind()
