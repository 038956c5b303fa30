"""The settings of the hyperparameter search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting

__all__ = ["OBJECTIVE_DIRECTIONS", "TuningSettings"]

OBJECTIVE_DIRECTIONS = {
    "nll": "minimize",
    "top1": "maximize",
    "macro_f1": "maximize",
    "balanced_accuracy": "maximize",
    "brier": "minimize",
    "ece": "minimize",
}
"""The objectives the head search offers, and which way each gets better."""


@dataclass(frozen=True, kw_only=True)
class TuningSettings(Settings):
    """How the hyperparameters are searched."""

    section: ClassVar[str] = "tuning"

    trials: int = setting(20, minimum=1, maximum=100_000)
    """How many trials the search makes at most."""
    strategy: str = setting("bayesian", choices=("bayesian", "random", "grid", "hyperband"))
    """Who proposes the trials."""
    objective: str = setting("nll", choices=tuple(OBJECTIVE_DIRECTIONS))
    """The validation figure that decides: nll is after temperature scaling."""
    solver: str = setting("lbfgs", choices=("lbfgs", "sgd"))
    """lbfgs trains each head to convergence; sgd takes the original's few epochs and searches
    learning rate and batch size as well."""
    patience: int | None = setting(None, minimum=1)
    """End the search after so many trials without a better one; empty means never."""
    stop_trials: str = setting("off", choices=("off", "median"))
    """Stop a trial that is worse than the median of the earlier ones at the same step."""
    parallel: int = setting(1, minimum=1, maximum=256)
    """How many trials run at once; the results do not depend on timing."""
    seed: int = setting(0, minimum=0, maximum=2**32 - 1)
    """Where the search's randomness starts; in a run, 0 takes `run.seed`."""
