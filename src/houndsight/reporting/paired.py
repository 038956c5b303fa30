"""Paired differences between two classifiers on the same photos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "mcnemar_p_value", "newcombe_interval", "paired_mean", "paired_top1"]

RESAMPLES = 2000
BOOTSTRAP_LIMIT = 50_000
"""With more photos the mean is normal enough, and a bootstrap would only cost time."""


@dataclass(frozen=True)
class Difference:
    """A figure of both runs and what B has more than A, with its 95 % interval."""

    a: float
    b: float
    difference: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    @classmethod
    def of_itself(cls, value: float) -> Difference:
        """What a run has more than itself: nothing, and that is certain."""
        return cls(value, value, 0.0, 0.0, 0.0)

    def to_json(self) -> dict[str, float | bool]:
        """Plain values."""
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "clear": self.clear,
        }


def paired_top1(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> Difference:
    """Shares right of both `(n,)` and their difference, B minus A, by Newcombe's interval."""
    count = len(right_a)
    gained = int((right_b & ~right_a).sum())
    lost = int((right_a & ~right_b).sum())
    both = int((right_a & right_b).sum())
    low, high = newcombe_interval(both, gained, lost, count - both - gained - lost)
    a, b = float(right_a.mean()), float(right_b.mean())
    return Difference(a, b, (gained - lost) / count, low, high)


def newcombe_interval(
    both: int, gained: int, lost: int, neither: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of a difference between paired shares, (both + gained) - (both + lost) over n.

    Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", method 10: Wilson's intervals of both shares, squared and added with
    the correlation of the pairs.
    """
    count = both + gained + lost + neither
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share_b, share_a = (both + gained) / count, (both + lost) / count
    low_b, high_b = _wilson(share_b, count, z)
    low_a, high_a = _wilson(share_a, count, z)
    phi = _correlation(both, gained, lost, neither)
    below_b, above_b = share_b - low_b, high_b - share_b
    below_a, above_a = share_a - low_a, high_a - share_a
    difference = share_b - share_a
    down = below_b**2 - 2 * phi * below_b * above_a + above_a**2
    up = above_b**2 - 2 * phi * above_b * below_a + below_a**2
    return difference - math.sqrt(max(down, 0.0)), difference + math.sqrt(max(up, 0.0))


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    """Newcombe's phi with his continuity correction for a positive one."""
    product = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if product == 0:
        return 0.0
    cross = float(both * neither - gained * lost)
    if cross > 0:
        cross = max(cross - (both + gained + lost + neither) / 2, 0.0)
    return cross / math.sqrt(product)


def _wilson(share: float, count: int, z: float) -> tuple[float, float]:
    """Wilson 1927's interval of a share."""
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (centre - half) / scale, (centre + half) / scale


def mcnemar_p_value(gained: int, lost: int) -> float:
    """The exact two-sided McNemar test (1947): chance of so uneven a split between them."""
    count, fewer = gained + lost, min(gained, lost)
    if count == 0:
        return 1.0
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        for k in range(fewer + 1)
    ]
    tail = math.fsum(math.exp(each - count * math.log(2)) for each in logs)
    return min(1.0, 2 * tail)


def paired_mean(a: NDArray[np.float64], b: NDArray[np.float64], seed: int = 0) -> Difference:
    """Means of both `(n,)` and their difference, B minus A, by a paired bootstrap.

    Percentiles of 2,000 resamples (Efron and Tibshirani 1993, chapter 13); the normal
    approximation with more than 50,000 photos.
    """
    change = b - a
    mean = float(change.mean())
    if len(change) > BOOTSTRAP_LIMIT:
        half = 1.959964 * float(change.std(ddof=1)) / math.sqrt(len(change))
        return Difference(float(a.mean()), float(b.mean()), mean, mean - half, mean + half)
    random = np.random.default_rng(seed)
    means = [change[random.integers(0, len(change), len(change))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(a.mean()), float(b.mean()), mean, float(low), float(high))
