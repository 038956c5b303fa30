"""Folds for cross-validation: stratified, and never a group on both sides."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from houndsight.errors import DataError

__all__ = ["fold_numbers"]

Indices = npt.NDArray[np.int64]


def fold_numbers(
    labels: npt.NDArray[Any], folds: int, *, groups: npt.NDArray[Any] | None = None, seed: int = 0
) -> Indices:
    """The fold `(n,)` each photo is held out in, 0 … folds - 1; classes spread evenly.

    Fewer folds are made when there are fewer groups, or fewer photos in every class.

    Args:
        labels: `(n,)`, class indices.
        folds: how many parts.
        groups: `(n,)`, equal numbers stay in one fold; None: each photo by itself.
        seed: of the shuffle.

    Raises:
        DataError: there is only one group, or no class has two photos.
    """
    labels = np.asarray(labels)
    units = len(labels) if groups is None else len(np.unique(groups))
    largest = int(np.bincount(labels).max(initial=0))
    folds = min(folds, units, largest)
    if folds < 2:
        raise DataError(
            f"Cross-validation needs at least two groups of photos and a class with two photos; "
            f"there are {units} groups and the largest class has {largest}. Add photos."
        )
    numbers = np.empty(len(labels), np.int64)
    with warnings.catch_warnings():  # a class with fewer photos than folds is no fault here
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for number, held_out in enumerate(_split(labels, groups, folds, seed)):
            numbers[held_out] = number
    return numbers


def _split(
    labels: npt.NDArray[Any], groups: npt.NDArray[Any] | None, folds: int, seed: int
) -> list[Indices]:
    if groups is None:
        plain = StratifiedKFold(folds, shuffle=True, random_state=seed)
        return [held_out for _, held_out in plain.split(labels, labels)]
    grouped = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [held_out for _, held_out in grouped.split(labels, labels, groups)]
