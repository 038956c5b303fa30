"""Photos with too few pixels to show much."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos
from houndsight.data.checks.outliers import outlier_finding
from houndsight.findings import Cause, Finding, Severity

__all__ = ["find_tiny"]


def find_tiny(photos: CheckedPhotos) -> list[Finding]:
    """Photos whose shorter side has under `minimum_edge_px` pixels; a remark when most have."""
    shorter = np.minimum(photos.column("width"), photos.column("height"))
    rows = np.flatnonzero(shorter < photos.minimum_edge_px)
    if not len(rows):
        return []
    rows = rows[np.argsort(shorter[rows], kind="stable")]
    middle = float(np.median(shorter))
    cause = Cause(
        text="Thumbnails or icons were collected instead of the photos themselves.",
        fix="Fetch the photos in their full size, or leave these out. If such photos are meant, "
        "set data.minimum_edge_px lower.",
        score=0.7,
        evidence=f"The shorter side has {shorter[rows[0]]:.0f} px at the least, {middle:.0f} px "
        "in the median.",
    )
    return outlier_finding(
        photos, "TinyPhotos", rows, f"Tiny, under {photos.minimum_edge_px} px at the shorter side",
        cause=cause, measured=float(shorter[rows[0]]), threshold=float(photos.minimum_edge_px),
        severity=Severity.INFO if middle < photos.minimum_edge_px else None,
    )  # fmt: skip
