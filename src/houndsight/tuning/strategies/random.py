"""Random search."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optuna.samplers import RandomSampler

from houndsight.tuning.history import History
from houndsight.tuning.parameters import Value
from houndsight.tuning.strategies.base import Strategy, trial_seed
from houndsight.tuning.strategies.study import ask, study_of

__all__ = ["Random"]


@dataclass(frozen=True)
class Random(Strategy):
    """Independent draws by each parameter's scaling (Bergstra and Bengio 2012)."""

    def suggest(self, history: History) -> dict[str, Value]:
        """A draw that depends on seed and number alone."""
        alone = replace(history, finished=(), pending=(), earlier=())
        sampler = RandomSampler(seed=trial_seed(history))
        return ask(study_of(alone, sampler), history.space)
