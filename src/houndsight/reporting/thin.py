"""Thinning a long series to a number of points that draws the same line.

Largest-Triangle-Three-Buckets, S. Steinarsson, "Downsampling Time Series for Visual
Representation", MSc thesis, University of Iceland, 2013, section 4.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MOST_POINTS", "thin"]

MOST_POINTS = 2000


def thin(x: ArrayLike, y: ArrayLike, points: int = MOST_POINTS) -> NDArray[np.int64]:
    """Which points of the series `x`, `y` (both `(n,)`) to keep, ascending, at most `points`.

    The first and last are always kept. In each of `points - 2` equal buckets the point is kept
    that makes the largest triangle with the one kept before and the mean of the next bucket,
    so single peaks survive. Values that are not finite count as the mean of the others.
    """
    across, along = np.asarray(x, np.float64), _finite(np.asarray(y, np.float64))
    n = len(across)
    if n <= points or points < 3:
        return np.arange(n, dtype=np.int64)
    edges = np.linspace(1, n - 1, points - 1).astype(np.int64)
    kept = np.zeros(points, np.int64)
    kept[-1] = n - 1
    for bucket in range(points - 2):
        low, high = edges[bucket], edges[bucket + 1]
        stop = edges[bucket + 2] if bucket + 2 < len(edges) else n
        following = slice(high, max(stop, high + 1))
        kept[bucket + 1] = low + _largest(across, along, kept[bucket], low, high, following)
    return kept


def _largest(
    x: NDArray[np.float64], y: NDArray[np.float64], before: Any, low: Any, high: Any, after: slice
) -> int:
    """Twice the triangle's area is |(ax - cx)(by - ay) - (ax - bx)(cy - ay)|."""
    ax, ay, cx, cy = x[before], y[before], x[after].mean(), y[after].mean()
    area = np.abs((ax - cx) * (y[low:high] - ay) - (ax - x[low:high]) * (cy - ay))
    return int(area.argmax())


def _finite(y: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(y)
    return y if known.all() else np.where(known, y, y[known].mean() if known.any() else 0.0)
