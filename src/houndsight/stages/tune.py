"""Stage 3, second half: search the head's hyperparameters on the cached features."""

from __future__ import annotations

from houndsight.stages.context import Context
from houndsight.stages.features import FeatureTable
from houndsight.stages.plan import K_FOLD, Plan
