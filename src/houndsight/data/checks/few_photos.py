"""Classes with too few photos to learn from and to judge by."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import EXAMPLES, CheckedPhotos, counted
from houndsight.findings import Cause, Finding, Severity

__all__ = ["find_few_photos"]

MINIMUM = 10


def find_few_photos(photos: CheckedPhotos) -> list[Finding]:
    """The classes with under ten usable photos, in all splits together."""
    counts = np.bincount(photos.labels, minlength=len(photos.folder.classes))
    few = np.flatnonzero(counts < MINIMUM)
    if not len(few):
        return []
    few = few[np.argsort(counts[few], kind="stable")]
    named = [f"{photos.folder.classes[index].name} ({counts[index]})" for index in few[:EXAMPLES]]
    return [
        Finding(
            rule="FewPhotosInClass",
            where="",
            severity=Severity.WARNING,
            title=f"{counted(len(few), 'class')} of {len(counts):,} "
            f"{'has' if len(few) == 1 else 'have'} under {MINIMUM} photos: "
            f"{', '.join(named[:5])}{' and others' if len(few) > 5 else ''}.",
            causes=(
                Cause(
                    text="Too few photos were collected, or the class is spelled in two ways.",
                    fix="Add photos of these classes (ten at the least, fifty are better), merge "
                    "them with a similar class, or leave them out.",
                    score=0.8,
                    evidence=f"The smallest class has {counted(int(counts[few[0]]))}.",
                ),
            ),
            count=len(few),
            measured=float(counts[few[0]]),
            threshold=float(MINIMUM),
            examples=tuple(named),
        )
    ]
