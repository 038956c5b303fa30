"""Photos of a shape that becoming a square does not suit, unlike the others."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos
from houndsight.data.checks.outliers import outlier_finding
from houndsight.findings import Cause, Finding

__all__ = ["find_odd_shaped"]

LONGEST = 3.0
"""Longer over shorter side from which a photo is odd; panoramas of phones begin there."""
BESIDE_MEDIAN = 2.0
"""A set of strips is not told of: a photo also has to differ this much from the median shape."""


def find_odd_shaped(photos: CheckedPhotos) -> list[Finding]:
    """Photos that are very long or high, in themselves and beside the others."""
    shape = np.log(photos.column("width").clip(1) / photos.column("height").clip(1))
    if not len(shape):
        return []
    beside = np.abs(shape - np.median(shape))
    rows = np.flatnonzero((np.abs(shape) >= np.log(LONGEST)) & (beside >= np.log(BESIDE_MEDIAN)))
    if not len(rows):
        return []
    rows = rows[np.argsort(-beside[rows], kind="stable")]
    longest = float(np.exp(np.abs(shape[rows]).max()))
    cause = Cause(
        text="Panoramas, strips or screenshots among photos of a usual shape.",
        fix="Cut out what matters from these photos, or keep everything in sight with "
        "data.fit = letterbox.",
        score=0.6,
        evidence=f"Sides up to {longest:.1f} to 1; {np.exp(np.median(shape)):.2f} wide to 1 high "
        "in the median.",
    )
    return outlier_finding(
        photos, "OddShapedPhotos", rows, "Very long or very high", cause=cause,
        measured=longest, threshold=LONGEST,
    )  # fmt: skip
