"""Search spaces, strategies and the tuner.

Names load when they are first used: the command line reads the settings for every `--help`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from houndsight.tuning.history import Direction, History, TrialLog, TrialRecord, TrialState
    from houndsight.tuning.ledger import TuningError
    from houndsight.tuning.parameters import (
        CategoricalParameter,
        ContinuousParameter,
        IntegerParameter,
        Parameter,
        Space,
    )
    from houndsight.tuning.settings import TuningSettings
    from houndsight.tuning.stopping import EarlyStopping
    from houndsight.tuning.strategies import (
        STRATEGIES,
        Bayesian,
        Grid,
        Hyperband,
        Random,
        Strategy,
        make_strategy,
    )
    from houndsight.tuning.trial import Trial
    from houndsight.tuning.tuner import Tuner, TuningResult

__all__ = [
    "STRATEGIES",
    "Bayesian",
    "CategoricalParameter",
    "ContinuousParameter",
    "Direction",
    "EarlyStopping",
    "Grid",
    "History",
    "Hyperband",
    "IntegerParameter",
    "Parameter",
    "Random",
    "Space",
    "Strategy",
    "Trial",
    "TrialLog",
    "TrialRecord",
    "TrialState",
    "Tuner",
    "TuningError",
    "TuningResult",
    "TuningSettings",
    "make_strategy",
]

_MODULES = (
    "history",
    "ledger",
    "parameters",
    "settings",
    "stopping",
    "strategies",
    "trial",
    "tuner",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = importlib.import_module(f"houndsight.tuning.{module}")
            if name in getattr(found, "__all__", ()):
                return getattr(found, name)
    raise AttributeError(f"module 'houndsight.tuning' has no attribute {name!r}")
