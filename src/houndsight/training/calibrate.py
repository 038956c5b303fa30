"""Making probabilities mean what they say, on a split the model was not trained on.

Temperature scaling is what Houndsight ships: one number, the ranking is untouched. Vector scaling
and isotonic regression are here to be compared with (`benchmarks/accuracy.py`); both have enough
freedom to overfit a small validation split.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from sklearn.isotonic import IsotonicRegression

from houndsight.errors import DataError
from houndsight.training.metrics import SMALLEST_PROBABILITY, softmax

__all__ = [
    "TEMPERATURE_RANGE",
    "Calibrator",
    "fit_isotonic",
    "fit_temperature",
    "fit_vector_scaling",
]

Logits = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]
Calibrator = Callable[[Logits], npt.NDArray[np.float64]]
"""Turns logits `(n, classes)` into calibrated probabilities `(n, classes)`."""

TEMPERATURE_RANGE = (0.02, 50.0)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature whose `softmax(logits / temperature)` has the least log-likelihood loss.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. The loss is convex
    in 1 / temperature, so a bounded search of one number finds its minimum. As in Platt 1999 the
    targets are smoothed by one photo's worth of the uniform distribution: without it a model that
    is right on every photo would be given the temperature 0. On 1,200 photos that moves the loss
    by less than 1e-4.

    Args:
        logits: `(n, classes)`.
        labels: `(n,)`, class indices.

    Raises:
        DataError: there are no photos, or a logit is not finite.
    """
    _check(logits, labels)
    logits = np.asarray(logits, np.float64)
    chosen = logits[np.arange(len(labels)), labels].mean()
    shifted = logits - logits.max(1, keepdims=True)
    shift = float((logits.max(1)).mean())
    prior = float(logits.mean())
    share = 1.0 / (len(labels) + 1)
    target = (1 - share) * float(chosen) + share * prior

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        normaliser = float(np.log(np.exp(shifted * scale).sum(1)).mean()) + shift * scale
        return normaliser - target * scale

    low, high = (math.log(bound) for bound in TEMPERATURE_RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    return math.exp(float(found.x))


def fit_vector_scaling(logits: Logits, labels: Labels, *, steps: int = 500) -> Calibrator:
    """`softmax(weight * logits + bias)` with a weight and a bias a class (Guo et al. 2017, 4.2).

    Fitted by L-BFGS from the temperature's solution.

    Raises:
        DataError: there are no photos, or a logit is not finite.
    """
    _check(logits, labels)
    logits = np.asarray(logits, np.float64)
    count, classes = logits.shape
    rows = np.arange(count)

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weight, bias = parameters[:classes], parameters[classes:]
        probabilities = softmax(logits * weight + bias)
        chosen = np.maximum(probabilities[rows, labels], SMALLEST_PROBABILITY)
        error = probabilities
        error[rows, labels] -= 1
        error /= count
        return float(-np.log(chosen).mean()), np.concatenate(
            [(error * logits).sum(0), error.sum(0)]
        )

    start = np.concatenate(
        [np.full(classes, 1 / fit_temperature(logits, labels)), np.zeros(classes)]
    )
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps}).x
    return lambda new: softmax(np.asarray(new, np.float64) * found[:classes] + found[classes:])


def fit_isotonic(logits: Logits, labels: Labels) -> Calibrator:
    """One isotonic regression a class against the rest, rows made to sum to 1.

    Zadrozny and Elkan 2002, "Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates". A little of the temperature-scaled probability is mixed in, so that a class that
    never occurred at a score does not get the probability 0 and an infinite loss.

    Raises:
        DataError: there are no photos, or a logit is not finite.
    """
    _check(logits, labels)
    temperature = fit_temperature(logits, labels)
    probabilities = softmax(logits, temperature)
    fitted = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
            probabilities[:, index], labels == index
        )
        for index in range(probabilities.shape[1])
    ]
    share = 1.0 / (len(labels) + 1)

    def calibrate(new: Logits) -> npt.NDArray[np.float64]:
        plain = softmax(new, temperature)
        columns = [each.predict(plain[:, index]) for index, each in enumerate(fitted)]
        mixed = (1 - share) * np.stack(columns, 1) + share * plain
        result: npt.NDArray[np.float64] = mixed / mixed.sum(1, keepdims=True)
        return result

    return calibrate


def _check(logits: Logits, labels: Labels) -> None:
    assert logits.ndim == 2 and labels.shape == logits.shape[:1], "(n, classes) and (n,)"
    if len(labels) == 0:
        raise DataError("There are no photos to calibrate on: the validation split is empty.")
    if not np.isfinite(logits).all():
        raise DataError("The model's outputs on the validation split are not all finite numbers.")
