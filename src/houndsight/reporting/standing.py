"""How good a model is: its headline figures, and how far they are from guessing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from houndsight.reporting.measurements import Measurements, Predictions

__all__ = ["SPLIT_WORDS", "Standing", "standing", "wilson_interval"]

SPLIT_WORDS = {"test": "test", "valid": "validation", "train": "training"}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the headline is made from; None where it is not known."""

    split: str
    top1: float
    low: float
    high: float
    photos: int
    baseline: float | None
    """Share of the most frequent class: what a model gets that always names it."""
    frequent: str
    balanced: float | None
    classes: int
    ece: float | None
    cross_validated: bool = False

    @property
    def score(self) -> float:
        """How far from guessing (0) to perfect (1), by photos or by classes, the worse of both."""
        by_photos = _skill(self.top1, self.baseline or 0.0)
        if self.balanced is None or self.classes < 2:
            return by_photos
        return min(by_photos, _skill(self.balanced, 1 / self.classes))

    @property
    def beats_baseline(self) -> bool:
        """Whether the whole interval lies above always naming the most frequent class."""
        return self.baseline is None or self.low > self.baseline


def wilson_interval(right: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share `right / n`: E. B. Wilson, JASA 22, 1927."""
    if n <= 0:
        return 0.0, 1.0
    share, z2 = right / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def standing(m: Measurements) -> Standing | None:
    """The headline figures of a run, from its results or else from its predictions."""
    figures, rows = m.metrics(m.headline), m.evaluated()
    if "top1" in figures:
        top1, photos = float(figures["top1"]), int(figures.get("count", len(rows) if rows else 0))
    elif rows:
        top1, photos = float((rows.labels == rows.predicted).mean()), len(rows)
    else:
        return None
    low, high = figures.get("top1_interval") or wilson_interval(top1 * photos, photos)
    baseline, frequent = _baseline(m, rows)
    return Standing(
        split=m.headline,
        top1=top1,
        low=float(low),
        high=float(high),
        photos=photos,
        baseline=baseline,
        frequent=frequent,
        balanced=figures.get("balanced_accuracy"),
        classes=len(m.classes),
        ece=figures.get("ece"),
        cross_validated=m.cross_validated,
    )


def _baseline(m: Measurements, rows: Predictions | None) -> tuple[float | None, str]:
    """How often the most frequent class is right among the evaluated photos, and its name."""
    labels = m.counts.get(m.headline) if rows is None else np.bincount(np.maximum(rows.labels, 0))
    if labels is None or not labels.sum():
        return None, ""
    return float(labels.max() / labels.sum()), m.class_name(int(labels.argmax()))


def _skill(value: float, chance: float) -> float:
    return (value - chance) / (1 - chance) if chance < 1 else 0.0
