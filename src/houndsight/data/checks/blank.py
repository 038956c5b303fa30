"""Photos of one colour: placeholders, covered lenses, empty pages."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos
from houndsight.data.checks.outliers import outlier_finding
from houndsight.findings import Cause, Finding

__all__ = ["find_blank"]

FLATTEST = 1.5
"""Deviation of the luma, of 255, of a 32 x 32 version; the flattest of 6,000 dogs has 13, of
2,624 solar cells (nearly black ones among them) 4."""
SHARE_OF_MEDIAN = 0.2


def find_blank(photos: CheckedPhotos) -> list[Finding]:
    """Photos on which nothing is to be seen, where others show something."""
    contrast = photos.column("contrast")
    if not len(contrast):
        return []
    middle = float(np.median(contrast))
    threshold = min(FLATTEST, SHARE_OF_MEDIAN * middle)
    rows = np.flatnonzero(contrast < threshold)
    rows = rows[np.argsort(contrast[rows], kind="stable")]
    lowest = float(contrast.min())
    cause = Cause(
        text="A placeholder for a missing photo, a covered lens or an empty scan.",
        fix="Delete these photos or put the real ones in their place.",
        score=0.7,
        evidence=f"Deviation of the brightness {lowest:.1f} of 255, {middle:.0f} in the median.",
    )
    return outlier_finding(
        photos, "BlankPhotos", rows, "Of one colour", cause=cause, measured=lowest,
        threshold=threshold,
    )  # fmt: skip
