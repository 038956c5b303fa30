"""All statistics of many samples at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.record import SAMPLED, Statistic

__all__ = ["lengths", "medians", "sampled_statistics"]

Array = npt.NDArray[Any]
QUANTILES = (
    (Statistic.P05, 0.05),
    (Statistic.P25, 0.25),
    (Statistic.MEDIAN, 0.5),
    (Statistic.P75, 0.75),
    (Statistic.P95, 0.95),
)


def sampled_statistics(samples: Array, sizes: Sequence[int]) -> Array:
    """The statistics of `SAMPLED`, (rows, statistics, tensors).

    Args:
        samples: (rows, sum of sizes), each row holding a sample of every tensor in turn.
        sizes: how many values each tensor has; all at least 1.
    """
    samples = np.asarray(samples, np.float32)
    count = np.asarray(sizes, np.int64)
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    out = np.empty((len(samples), len(SAMPLED), len(count)), np.float32)
    put = {statistic: out[:, i] for i, statistic in enumerate(SAMPLED)}
    with np.errstate(all="ignore"):
        mean = np.add.reduceat(samples, starts, axis=1) / count
        put[Statistic.MEAN][:] = mean
        absolute = np.abs(samples)
        put[Statistic.MEAN_ABSOLUTE][:] = np.add.reduceat(absolute, starts, axis=1) / count
        centred = samples - np.repeat(mean, count, axis=1)
        np.square(centred, out=centred)
        put[Statistic.STD][:] = np.sqrt(np.add.reduceat(centred, starts, axis=1) / count)
        put[Statistic.MINIMUM][:] = np.minimum.reduceat(samples, starts, axis=1)
        put[Statistic.MAXIMUM][:] = np.maximum.reduceat(samples, starts, axis=1)
        zero = (samples == 0).astype(np.float32)
        put[Statistic.ZEROS][:] = np.add.reduceat(zero, starts, axis=1) / count
        for size in np.unique(count):
            chosen = np.flatnonzero(count == size)
            _quantiles(samples, starts[chosen], int(size), chosen, put)
    return out


def _quantiles(
    samples: Array, starts: Array, size: int, chosen: Array, put: dict[Statistic, Array]
) -> None:
    """Quantiles, linear between neighbours, of the tensors that have `size` values."""
    places = starts[:, None] + np.arange(size)
    ordered = np.sort(samples[:, places.reshape(-1)].reshape(len(samples), -1, size), axis=2)
    for statistic, share in QUANTILES:
        at = share * (size - 1)
        low = int(at)
        high = min(low + 1, size - 1)
        put[statistic][:, chosen] = ordered[:, :, low] * (1 - (at - low)) + ordered[:, :, high] * (
            at - low
        )


def lengths(samples: Array, sizes: Sequence[int]) -> Array:
    """Euclidean lengths (rows, tensors) of the samples."""
    starts = np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))[:-1]])
    with np.errstate(all="ignore"):
        squares = np.square(samples.astype(np.float64))
        return np.asarray(np.sqrt(np.add.reduceat(squares, starts, axis=1)))


def medians(samples: Array, sizes: Sequence[int]) -> Array:
    """Medians (rows, tensors) of the samples."""
    ends = np.cumsum(np.asarray(sizes, np.int64))
    parts = np.split(samples, ends[:-1], axis=1)
    return np.stack([np.median(part, axis=1) for part in parts], axis=1).astype(np.float32)
