"""The default search spaces of the head, and what a set of parameters means to the solvers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from houndsight.training.head import FittedHead, HeadFitter, HeadParameters
from houndsight.tuning.parameters import (
    CategoricalParameter,
    ContinuousParameter,
    Parameter,
    Space,
    Value,
)

__all__ = ["first_guess", "fit", "head_parameters", "head_space", "sgd_space"]

Features = npt.NDArray[Any] | Tensor

SGD_EPOCHS = 5
"""The original project's."""

IMBALANCE = 1.5
"""From this ratio of the largest to the smallest class on, treatments of imbalance are tried."""

BATCH_SIZES = (32, 64, 128, 256, 512)


def head_space(labels: npt.NDArray[Any]) -> dict[str, Parameter]:
    """What is searched for heads trained to convergence on photos with these labels `(n,)`.

    `weight_decay` is meant for features of unit length, whatever `normalise` does: scikit-learn's
    C from 20 down to 0.1. The features' length is left in: it says how sure the backbone is, and
    without it the loss on the 120 breeds is 5 % higher with either backbone tried.
    """
    count = max(len(labels), 1)
    space: dict[str, Parameter] = {
        "weight_decay": ContinuousParameter(0.05 / count, 10 / count, "logarithmic"),
        "label_smoothing": ContinuousParameter(0.0, 0.3, "linear"),
        "shrinkage": ContinuousParameter(0.3, 1.0, "linear"),
    }
    return space | _balance(labels)


def sgd_space(labels: npt.NDArray[Any]) -> dict[str, Parameter]:
    """The original project's learning rate and batch size, and what regularises."""
    space: dict[str, Parameter] = {
        "learning_rate": ContinuousParameter(0.001, 0.1, "logarithmic"),
        "batch_size": CategoricalParameter(BATCH_SIZES),
        "weight_decay": ContinuousParameter(1e-6, 1e-2, "logarithmic"),
        "label_smoothing": ContinuousParameter(0.0, 0.3, "linear"),
    }
    return space | _balance(labels)


def _balance(labels: npt.NDArray[Any]) -> dict[str, Parameter]:
    """The treatments of imbalance, when there is any."""
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if len(counts) and counts.max() < IMBALANCE * counts.min():
        return {}
    choices = ("none", "weights", "logit_adjustment", "sampling")
    return {"balance": CategoricalParameter(choices)}


def first_guess(space: Space, count: int) -> list[dict[str, Value]]:
    """A point that is rarely bad, to try first: scikit-learn's C = 2 on unit-length features."""
    guess: dict[str, Value] = {
        "weight_decay": 0.5 / max(count, 1),
        "label_smoothing": 0.0,
        "shrinkage": 0.8,
        "normalise": "none",
        "balance": "none",
        "learning_rate": 0.01,
        "batch_size": 32,
    }
    if not set(space) <= set(guess):
        return []
    clipped = {name: _clip(parameter, guess[name]) for name, parameter in space.items()}
    return [clipped]


def _clip(parameter: Parameter, value: Value) -> Value:
    if isinstance(parameter, CategoricalParameter):
        return value if value in parameter.values else parameter.values[0]
    low, high = parameter.grid(2)
    assert isinstance(low, float | int) and isinstance(high, float | int)
    assert isinstance(value, float | int)
    return parameter.check("", min(max(value, low), high))


def head_parameters(
    parameters: Mapping[str, Value], features: Features, solver: str = "lbfgs"
) -> HeadParameters:
    """The head's own part of a trial's parameters, for training features `(n, d)`.

    A penalty on weights means the less the longer the features are, so with L-BFGS the weight
    decay is multiplied by their mean squared length after normalisation.
    """
    known = {field.name for field in HeadParameters.describe()}
    given: dict[str, Any] = {name: v for name, v in parameters.items() if name in known}
    if solver == "sgd":
        return HeadParameters(**({"normalise": "standardise"} | given))
    head = HeadParameters(**given)
    return replace(head, weight_decay=head.weight_decay * _squared_length(features, head.normalise))


def _squared_length(features: Features, normalise: str) -> float:
    if normalise == "l2":
        return 1.0
    if normalise == "standardise":
        return float(features.shape[1])
    array = np.asarray(features)
    return float(np.linalg.norm(array)) ** 2 / max(len(array), 1)


def fit(
    fitter: HeadFitter, parameters: Mapping[str, Value], solver: str, *, quick: bool = False
) -> FittedHead:
    """The head with a trial's parameters, by either solver; `quick` is enough to compare them."""
    head = head_parameters(parameters, fitter.features, solver)
    if solver == "lbfgs":
        return fitter.probe(head) if quick else fitter.fit(head)
    rate, batch = parameters["learning_rate"], parameters["batch_size"]
    assert isinstance(rate, float) and isinstance(batch, int)
    return fitter.fit_sgd(head, learning_rate=rate, batch_size=batch, epochs=SGD_EPOCHS)
