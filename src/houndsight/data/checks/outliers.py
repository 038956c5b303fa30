"""How findings about some unusual photos of a set are worded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from houndsight.data.checks.base import CheckedPhotos, counted, percent
from houndsight.findings import Cause, Finding, Severity

__all__ = ["outlier_finding"]

SHARE_OF_ALL = 0.01
"""From here on unusual photos are worth a warning: a point of top-1 may hang on them."""
SHARE_OF_CLASS = 0.1
FEW = 3
"""A class may also suffer alone; but one or two photos of it are an accident, not a pattern."""


def outlier_finding(
    photos: CheckedPhotos,
    rule: str,
    rows: npt.NDArray[np.int64],
    what: str,
    *,
    cause: Cause,
    measured: float,
    threshold: float,
    severity: Severity | None = None,
) -> list[Finding]:
    """One finding for `rows`, the most unusual first, or none when there are none.

    Without a `severity` it is a remark on a few among many photos, else a warning.
    """
    if not len(rows):
        return []
    return [
        Finding(
            rule=rule,
            where="",
            severity=severity or _severity(photos, rows),
            title=f"{what}: {len(rows):,} of {counted(len(photos))} "
            f"({percent(len(rows), len(photos))}).",
            causes=(cause,),
            count=len(rows),
            measured=measured,
            threshold=threshold,
            examples=photos.examples(rows),
        )
    ]


def _severity(photos: CheckedPhotos, rows: npt.NDArray[np.int64]) -> Severity:
    """A warning where the photos are many, among all or in one class."""
    if len(rows) >= SHARE_OF_ALL * len(photos):
        return Severity.WARNING
    unusual = np.bincount(photos.labels[rows])
    sizes = np.bincount(photos.labels)[: len(unusual)]
    suffers = (unusual >= FEW) & (unusual >= SHARE_OF_CLASS * sizes)
    return Severity.WARNING if suffers.any() else Severity.INFO
