"""Photos on which hardly anything can be seen."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos
from houndsight.data.checks.outliers import outlier_finding
from houndsight.findings import Cause, Finding

__all__ = ["find_dark"]

DARKEST = 20.0
"""Mean luma, of 255, below which a photo is nearly black; the darkest of 6,000 dogs has 25."""
SHARE_OF_MEDIAN = 1 / 3
"""A set that is dark as a whole (microscopy, night) is not told of: a photo also has to be this
much darker than the median one."""


def find_dark(photos: CheckedPhotos) -> list[Finding]:
    """Photos that are very dark, in themselves and beside the others."""
    brightness = photos.column("brightness")
    if not len(brightness):
        return []
    middle = float(np.median(brightness))
    threshold = min(DARKEST, SHARE_OF_MEDIAN * middle)
    rows = np.flatnonzero(brightness < threshold)
    rows = rows[np.argsort(brightness[rows], kind="stable")]
    lowest = float(brightness.min())
    cause = Cause(
        text="The camera had too little light, or the file was damaged in processing.",
        fix="Take these photos again with more light, brighten them, or leave them out; keep "
        "them if the model will meet such photos.",
        score=0.6,
        evidence=f"Mean brightness {lowest:.0f} of 255 at the least, {middle:.0f} in the median.",
    )
    return outlier_finding(
        photos, "DarkPhotos", rows, "Very dark", cause=cause, measured=lowest, threshold=threshold
    )
