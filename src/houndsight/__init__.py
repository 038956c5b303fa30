"""Houndsight trains an image classifier from folders of photos and tells you why it is good or bad.

Names load when they are first used, so that `import houndsight` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from houndsight._version import __version__

if TYPE_CHECKING:
    from houndsight.data.folder import ImageFolder
    from houndsight.errors import HoundsightError
    from houndsight.findings import Finding
    from houndsight.models.artifact import ModelArtifact
    from houndsight.models.backbone import Backbone, load_backbone
    from houndsight.models.classifier import Classifier
    from houndsight.models.features import FeatureCache
    from houndsight.pipeline import RunConfig, run
    from houndsight.runs import Run
    from houndsight.training.recipe import Recipe
    from houndsight.training.trainer import Trainer
    from houndsight.tuning.parameters import (
        CategoricalParameter,
        ContinuousParameter,
        IntegerParameter,
    )
    from houndsight.tuning.tuner import Tuner

__all__ = [
    "Backbone",
    "CategoricalParameter",
    "Classifier",
    "ContinuousParameter",
    "FeatureCache",
    "Finding",
    "HoundsightError",
    "ImageFolder",
    "IntegerParameter",
    "ModelArtifact",
    "Recipe",
    "Run",
    "RunConfig",
    "Trainer",
    "Tuner",
    "__version__",
    "load_backbone",
    "run",
]

_HOMES = {
    "Backbone": "models.backbone",
    "CategoricalParameter": "tuning.parameters",
    "Classifier": "models.classifier",
    "ContinuousParameter": "tuning.parameters",
    "FeatureCache": "models.features",
    "Finding": "findings",
    "HoundsightError": "errors",
    "ImageFolder": "data.folder",
    "IntegerParameter": "tuning.parameters",
    "ModelArtifact": "models.artifact",
    "Recipe": "training.recipe",
    "Run": "runs",
    "RunConfig": "pipeline",
    "Trainer": "training.trainer",
    "Tuner": "tuning.tuner",
    "load_backbone": "models.backbone",
    "run": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'houndsight' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"houndsight.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
