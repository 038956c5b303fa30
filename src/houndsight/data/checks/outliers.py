"""How findings about some unusual photos of a set are worded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from houndsight.data.checks.base import CheckedPhotos, counted, percent
from houndsight.findings import Cause, Finding, Severity

__all__ = ["outlier_finding"]


def outlier_finding(
    photos: CheckedPhotos,
    rule: str,
    rows: npt.NDArray[np.int64],
    what: str,
    *,
    cause: Cause,
    measured: float,
    threshold: float,
    severity: Severity = Severity.WARNING,
) -> list[Finding]:
    """One finding for `rows`, the most unusual first, or none when there are none."""
    if not len(rows):
        return []
    return [
        Finding(
            rule=rule,
            where="",
            severity=severity,
            title=f"{what}: {len(rows):,} of {counted(len(photos))} "
            f"({percent(len(rows), len(photos))}).",
            causes=(cause,),
            count=len(rows),
            measured=measured,
            threshold=threshold,
            examples=photos.examples(rows),
        )
    ]
