"""How good a classifier is: figures computed from probabilities and labels.

Everything here is NumPy on whole splits, so that the report, the search and the trainer get the
same number for the same probabilities.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from houndsight.errors import DataError

__all__ = [
    "CALIBRATION_BINS",
    "ClassFigures",
    "ReliabilityBin",
    "confusion_matrix",
    "evaluate_logits",
    "evaluate_probabilities",
    "expected_calibration_error",
    "negative_log_likelihood",
    "per_class",
    "reliability_bins",
    "softmax",
    "top_k_accuracy",
    "wilson_interval",
]

Array = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

CALIBRATION_BINS = 15
"""Bins of equal width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""

SMALLEST_PROBABILITY = 1e-12
"""A probability of 0 for the right class counts as this, so that the loss stays finite."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The photos whose confidence lies in one bin: their means, both 0 to 1."""

    confidence: float
    accuracy: float
    count: int

    def to_json(self) -> dict[str, float]:
        """Plain values, as they stand in `run.json`."""
        return asdict(self)


@dataclass(frozen=True)
class ClassFigures:
    """One row of the per-class table; precision, recall and F1 are 0 to 1."""

    class_index: int
    support: int
    """Photos with this label."""
    predicted: int
    """Photos the model gave this class."""
    precision: float
    recall: float
    f1: float
    confused_with: int | None
    """The class most often given to its photos by mistake, None when there was no mistake."""

    def to_json(self) -> dict[str, float | None]:
        """Plain values, as they stand in `run.json`."""
        return asdict(self)


def evaluate_probabilities(probabilities: Array, labels: Labels) -> dict[str, float]:
    """The figures of one split, each a float.

    `top1`, `top5`, `macro_f1`, `balanced_accuracy` and `ece` are 0 to 1; `nll` is in nats;
    `brier` is the multi-class score of Brier 1950, 0 to 2; `count` is the number of photos.

    Args:
        probabilities: `(n, classes)`, rows summing to 1.
        labels: `(n,)`, class indices.

    Raises:
        DataError: there are no photos.
    """
    _check(probabilities, labels)
    matrix = confusion_matrix(probabilities.argmax(1), labels, probabilities.shape[1])
    return {
        "top1": top_k_accuracy(probabilities, labels, 1),
        "top5": top_k_accuracy(probabilities, labels, 5),
        "macro_f1": _macro_f1(matrix),
        "balanced_accuracy": _balanced_accuracy(matrix),
        "nll": negative_log_likelihood(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "brier": _brier(probabilities, labels),
        "count": float(len(labels)),
    }


def evaluate_logits(logits: Array, labels: Labels, *, temperature: float = 1.0) -> dict[str, float]:
    """`evaluate_probabilities` of `softmax(logits / temperature)`; `logits` is `(n, classes)`."""
    return evaluate_probabilities(softmax(logits, temperature), labels)


def softmax(logits: Array, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities `(n, classes)` of logits `(n, classes)`."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers: npt.NDArray[np.float64] = np.exp(scaled - scaled.max(1, keepdims=True))
    powers /= powers.sum(1, keepdims=True)
    return powers


def top_k_accuracy(probabilities: Array, labels: Labels, k: int) -> float:
    """The share of photos whose label is among the `k` likeliest classes.

    With `k` classes or fewer it is 1. A tie is decided for the lower class index, as argmax does.
    """
    rows = np.arange(len(labels))
    right = probabilities[rows, labels][:, None]
    ahead = (probabilities > right).sum(1)
    before = np.arange(probabilities.shape[1])[None, :] < labels[:, None]
    ahead += ((probabilities == right) & before).sum(1)
    return float((ahead < k).mean())


def negative_log_likelihood(probabilities: Array, labels: Labels) -> float:
    """The mean of `-log p(label)`, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, SMALLEST_PROBABILITY)).mean())


def expected_calibration_error(
    probabilities: Array, labels: Labels, bins: int = CALIBRATION_BINS
) -> float:
    """The mean distance of confidence and accuracy over bins of confidence (Naeini et al. 2015)."""
    filled = reliability_bins(probabilities, labels, bins)
    gaps = sum(b.count * abs(b.confidence - b.accuracy) for b in filled)
    return gaps / len(labels)


def reliability_bins(
    probabilities: Array, labels: Labels, bins: int = CALIBRATION_BINS
) -> list[ReliabilityBin]:
    """The reliability diagram: the bins of equal width that hold photos, in order."""
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    # Bins are open below and closed above, as in Guo et al. 2017, equation 2.
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    confident = np.bincount(place, confidence, bins)
    correct = np.bincount(place, right, bins)
    return [
        ReliabilityBin(float(confident[i] / count[i]), float(correct[i] / count[i]), int(count[i]))
        for i in np.flatnonzero(count)
    ]


def confusion_matrix(predicted: Labels, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts `(classes, classes)`: row the label, column what was predicted."""
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predicted, np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def per_class(probabilities: Array, labels: Labels) -> list[ClassFigures]:
    """The per-class table, in class order; a figure with nothing to divide by is 0."""
    _check(probabilities, labels)
    matrix = confusion_matrix(probabilities.argmax(1), labels, probabilities.shape[1])
    precision, recall, f1 = _precision_recall_f1(matrix)
    mistakes = matrix - np.diag(np.diag(matrix))
    return [
        ClassFigures(
            class_index=i,
            support=int(matrix[i].sum()),
            predicted=int(matrix[:, i].sum()),
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            confused_with=int(mistakes[i].argmax()) if mistakes[i].any() else None,
        )
        for i in range(len(matrix))
    ]


def wilson_interval(share: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share of `count` photos (Wilson 1927), both ends 0 to 1.

    Unlike the normal approximation it stays inside 0 to 1 and is honest near both ends.
    """
    if count < 1:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    whole = 1 + z * z / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def _precision_recall_f1(matrix: npt.NDArray[np.int64]) -> tuple[Array, Array, Array]:
    right = np.diag(matrix)
    support, predicted = matrix.sum(1), matrix.sum(0)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(support, 1)
    return precision, recall, 2 * right / np.maximum(support + predicted, 1)


def _macro_f1(matrix: npt.NDArray[np.int64]) -> float:
    """Over the classes that occur as label or as prediction, as scikit-learn does."""
    occurs = (matrix.sum(1) + matrix.sum(0)) > 0
    return float(_precision_recall_f1(matrix)[2][occurs].mean())


def _balanced_accuracy(matrix: npt.NDArray[np.int64]) -> float:
    """The mean recall of the classes that have photos."""
    return float(_precision_recall_f1(matrix)[1][matrix.sum(1) > 0].mean())


def _brier(probabilities: Array, labels: Labels) -> float:
    rows = np.arange(len(labels))
    squares = np.einsum("ij,ij->i", probabilities, probabilities, dtype=np.float64)
    return float((squares - 2.0 * probabilities[rows, labels] + 1.0).mean())


def _check(probabilities: Array, labels: Labels) -> None:
    assert probabilities.ndim == 2, "probabilities are (n, classes)"
    assert labels.shape == probabilities.shape[:1], "labels are (n,)"
    if len(labels) == 0:
        raise DataError("There are no photos to evaluate: the split is empty.")
