"""Search spaces, strategies and the tuner."""

from __future__ import annotations

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
