"""What to do about training photos that are also in the splits that judge the model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from houndsight.data.checks.base import CheckedPhotos
from houndsight.findings import Severity

__all__ = ["leak_severity", "removable"]

_MOST = 0.25
"""Share of a class's (or of all) photos on one side that may be set aside because of a leak;
beyond, what is left would be another data set, and the person has to decide."""
_GRAVE = 0.01


def removable(photos: CheckedPhotos, rows: npt.NDArray[np.int64]) -> bool:
    """Whether the copies on the earlier side can be set aside without harm to that side."""
    for side in np.unique(photos.sides[rows]):
        there = photos.sides == side
        leaving = rows[photos.sides[rows] == side]
        if len(leaving) > _MOST * there.sum():
            return False
        before = np.bincount(photos.labels[there])
        after = before - np.bincount(photos.labels[leaving], minlength=len(before))
        if (after[before > 0] == 0).any():
            return False
    return True


def leak_severity(leaked: int, evaluated: int, handled: bool) -> Severity:
    """An error when figures cannot be trusted, or a hundredth of what judges was leaked."""
    if not handled or leaked >= _GRAVE * max(evaluated, 1):
        return Severity.ERROR
    return Severity.WARNING
