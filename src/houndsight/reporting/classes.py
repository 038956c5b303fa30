"""How the model does on each class, from its predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from houndsight.reporting.measurements import Predictions

__all__ = ["ClassFigures", "ConfusedPair", "class_figures", "confused_pairs", "confusion_matrix"]


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """Precision, recall and F1 of a class with `count` evaluated photos; None where undefined."""

    index: int
    count: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """`count` photos of class `true` were called `predicted`, `share` of that class."""

    true: int
    predicted: int
    count: int
    share: float


def confusion_matrix(predictions: Predictions, classes: int) -> NDArray[np.int64]:
    """Counts `(classes, classes)`: rows are true classes, columns predicted ones."""
    labels, predicted = predictions.labels, predictions.predicted
    known = (labels >= 0) & (labels < classes) & (predicted >= 0) & (predicted < classes)
    flat = labels[known] * classes + predicted[known]
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def class_figures(matrix: NDArray[np.int64]) -> list[ClassFigures]:
    """The figures of every class, in the order of the classes."""
    right, given, told = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return [
        ClassFigures(
            index=index,
            count=int(given[index]),
            predicted=int(told[index]),
            precision=_share(right[index], told[index]),
            recall=_share(right[index], given[index]),
            f1=_share(2 * right[index], given[index] + told[index]),
        )
        for index in range(len(matrix))
    ]


def confused_pairs(matrix: NDArray[np.int64], most: int = 15) -> list[ConfusedPair]:
    """The pairs with the most mistakes, largest first; ties go to the larger share."""
    wrong = matrix - np.diag(np.diag(matrix))
    share = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    rows, columns = np.nonzero(wrong)
    order = np.lexsort((-share[rows, columns], -wrong[rows, columns]))[:most]
    return [
        ConfusedPair(
            true=int(t), predicted=int(p), count=int(wrong[t, p]), share=float(share[t, p])
        )
        for t, p in zip(rows[order], columns[order], strict=True)
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
