"""Photos out of focus at the size that networks see."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos
from houndsight.data.checks.blank import FLATTEST
from houndsight.data.checks.outliers import outlier_finding
from houndsight.findings import Cause, Finding

__all__ = ["find_blurred"]

BLURREST = 0.008
"""Relative variance of the Laplacian (see `photo_facts`). Of 6,000 dogs the lowest has 0.014;
blurred by a Gaussian of 2 px at 224 px, half have under 0.0052."""
SHARE_OF_MEDIAN = 1 / 8


def find_blurred(photos: CheckedPhotos) -> list[Finding]:
    """Photos that are blurred, in themselves and beside the others; flat ones are not judged."""
    sharpness, contrast = photos.column("sharpness"), photos.column("contrast")
    judged = contrast >= FLATTEST
    if not judged.any():
        return []
    middle = float(np.median(sharpness[judged]))
    threshold = min(BLURREST, SHARE_OF_MEDIAN * middle)
    rows = np.flatnonzero(judged & (sharpness < threshold))
    rows = rows[np.argsort(sharpness[rows], kind="stable")]
    lowest = float(sharpness[judged].min())
    cause = Cause(
        text="The camera or the object moved, the focus was wrong, or a small photo was enlarged.",
        fix="Look at them and leave out those on which the class cannot be told; keep them if "
        "the model will meet such photos.",
        score=0.6,
        evidence=f"Relative variance of the Laplacian {lowest:.4f} at the least, {middle:.3f} in "
        "the median.",
    )
    return outlier_finding(
        photos, "BlurredPhotos", rows, "Blurred", cause=cause, measured=lowest,
        threshold=threshold,
    )  # fmt: skip
