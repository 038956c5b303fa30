"""What a tuning strategy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from houndsight.tuning.history import History
from houndsight.tuning.parameters import Value

__all__ = ["RunningTrial", "Strategy", "trial_seed"]


@dataclass(frozen=True)
class RunningTrial:
    """A trial under way, as a strategy sees it when it judges whether to stop it."""

    number: int
    parameters: Mapping[str, Value]
    intermediate: Sequence[tuple[int, float]] = field(default=())
    """(step, objective) so far, in order; the last one is new."""


class Strategy(ABC):
    """Proposes trials. Its life in a search::

        strategy = Bayesian()                               # settings only, no state
        for number in range(trials):
            history = what is known before trial `number`
            parameters = strategy.suggest(history)          # None: nothing is left to try
            for step, value in the trial's reports:
                if strategy.should_stop(history, trial):    # the same history as above
                    the trial ends as "stopped"
            its record joins the next history

    Both methods are pure functions of their arguments: no state is kept between calls and all
    randomness comes from `trial_seed(history)`. That is what lets a search that was killed, or
    runs in several threads or processes, propose exactly the trials it would have proposed.
    A strategy must be picklable, because trials in other processes ask it `should_stop`.
    """

    @abstractmethod
    def suggest(self, history: History) -> dict[str, Value] | None:
        """Parameters of trial `history.number`, a value for each of `history.space`.

        None means that there is nothing left to try.
        """

    def should_stop(self, history: History, trial: RunningTrial) -> bool:  # noqa: ARG002
        """Whether `trial` is not worth going on with, judged by its last report."""
        return False


def trial_seed(history: History) -> int:
    """A seed in 0 … 2³² - 1 for this trial of this search."""
    return int(np.random.SeedSequence([history.seed, history.number]).generate_state(1)[0])
