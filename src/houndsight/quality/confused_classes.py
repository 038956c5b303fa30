"""Pairs of classes that the model takes for each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.findings import Cause, Finding, Severity
from houndsight.quality.result import Result
from houndsight.quality.significance import at_least, holm

__all__ = ["confused_classes"]

LEVEL = 0.01
LEAST_MISTAKES = 3
LEAST_SHARE = 0.2
"""Of the photos of both classes."""


def confused_classes(result: Result) -> list[Finding]:
    """A finding for each pair whose mistakes are many and more than chance would put there.

    Chance: the mistakes of a class spread evenly over the others (binomial, Holm over all pairs).
    """
    classes = len(result.classes)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(result.labels), result.predicted), 1)
    counts = matrix.sum(1)
    both = matrix + matrix.T
    pairs = [(i, j) for i, j in np.argwhere(np.triu(both, 1) > 0).tolist()]
    if classes < 3 or not pairs:
        return []  # with two classes every mistake is between them
    evenly = result.wrong.mean() / (classes - 1)
    tested = classes * (classes - 1) // 2
    raw = [at_least(both[i, j], counts[i] + counts[j], evenly) for i, j in pairs]
    p_values = holm(raw + [1.0] * (tested - len(raw)))
    found = [
        (int(both[i, j]), i, j)
        for p, (i, j) in zip(p_values, pairs, strict=False)
        if p <= LEVEL and both[i, j] >= max(LEAST_MISTAKES, LEAST_SHARE * (counts[i] + counts[j]))
    ]
    found.sort(key=lambda item: (-item[0], item[1:]))
    return [_finding(result, matrix, i, j) for _, i, j in found]


def _finding(result: Result, matrix: npt.NDArray[Any], i: int, j: int) -> Finding:
    first, second = result.classes[i], result.classes[j]
    mistakes, photos = int(matrix[i, j] + matrix[j, i]), int(matrix[i].sum() + matrix[j].sum())
    labels = np.asarray(result.labels)
    rows = np.flatnonzero(
        ((labels == i) & (result.predicted == j)) | ((labels == j) & (result.predicted == i))
    )
    return Finding(
        rule="ConfusedClasses",
        where=f"{first} / {second}",
        severity=Severity.WARNING,
        title=(
            f"{first} and {second} are taken for each other in {mistakes} of {photos} photos "
            f"({mistakes / photos:.0%})."
        ),
        causes=_causes(result, matrix, i, j, rows),
        count=mistakes,
        measured=mistakes / photos,
        threshold=LEAST_SHARE,
        examples=result.examples(rows),
        plot={
            "classes": [first, second],
            "first_as_second": int(matrix[i, j]),
            "second_as_first": int(matrix[j, i]),
            "photos": photos,
        },
    )


def _causes(
    result: Result, matrix: npt.NDArray[Any], i: int, j: int, rows: npt.NDArray[Any]
) -> tuple[Cause, ...]:
    first, second = result.classes[i], result.classes[j]
    confident = float(np.mean(np.asarray(result.probabilities)[rows].max(1)))
    sure = confident >= 0.8
    evidence = (
        f"{matrix[i, j]} of {first} were called {second}, {matrix[j, i]} the other way round, "
        f"with a mean confidence of {confident:.0%}."
    )
    alike = Cause(
        text=f"{first} and {second} look alike at this resolution.",
        fix=(
            "Add photos that show the difference, raise --size, or fine-tune; merge the classes "
            "if nothing depends on telling them apart."
        ),
        score=0.4 if sure else 0.7,
        evidence=evidence,
    )
    labels = Cause(
        text="Photos of the two classes were mixed up when they were labelled.",
        fix="Look at the photos listed and move the wrong ones to the other class.",
        score=0.7 if sure else 0.3,
        evidence=evidence,
    )
    return tuple(sorted((alike, labels), key=lambda cause: -cause.score))
