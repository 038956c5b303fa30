"""Classes of very different size."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos
from houndsight.findings import Cause, Finding, Severity

__all__ = ["find_imbalance"]

TOLD = 5.0
"""Largest over smallest class from which it is told; public sets such as the Oxford flowers (6)
are learned without special treatment."""
WARNED = 10.0
"""From here on plain training visibly neglects the small classes."""


def find_imbalance(photos: CheckedPhotos) -> list[Finding]:
    """The ratio of the largest class to the smallest among what is trained on."""
    counts = np.bincount(photos.labels[photos.sides == 0], minlength=len(photos.folder.classes))
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return []
    large, small = present[counts[present].argmax()], present[counts[present].argmin()]
    ratio = float(counts[large] / counts[small])
    if ratio < TOLD:
        return []
    names = [photos.folder.classes[index].name for index in (large, small)]
    return [
        Finding(
            rule="ClassImbalance",
            where="",
            severity=Severity.WARNING if ratio >= WARNED else Severity.INFO,
            title=f"The largest class has {ratio:.0f} times as many photos as the smallest: "
            f"{names[0]} {counts[large]:,}, {names[1]} {counts[small]:,}.",
            causes=(
                Cause(
                    text="Some classes are rarer, or less was collected of them.",
                    fix="Add photos of the small classes. The search tries class weights, balanced "
                    "sampling and logit adjustment; judge by balanced accuracy and macro-F1.",
                    score=0.8,
                    evidence=f"The median class has {np.median(counts[present]):,.0f} photos.",
                ),
            ),
            count=len(present),
            measured=ratio,
            threshold=TOLD,
            examples=tuple(names),
            plot={"classes": [c.name for c in photos.folder.classes], "counts": counts.tolist()},
        )
    ]
