"""Which photos stand in which batch: a pure function of seed and epoch, so nothing is to restore.

A training that resumes asks for the same epoch again and leaves out the batches it has done.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "WHOLE",
    "Shard",
    "batch_count",
    "batch_rows",
    "epoch_order",
    "random",
    "sampling_weights",
]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """The part of every batch that one of several processes takes."""

    index: int = 0
    count: int = 1

    @property
    def rows(self) -> slice:
        """Its rows of a batch."""
        return slice(self.index, None, self.count)


WHOLE = Shard()


def random(purpose: str, *key: int) -> np.random.Generator:
    """A generator that depends on nothing but what it is for and `key`, such as (seed, epoch)."""
    return np.random.default_rng((zlib.crc32(purpose.encode()), *key))


def sampling_weights(labels: npt.NDArray[np.integer], strength: float) -> npt.NDArray[np.float64]:
    """Probabilities `(n,)` of drawing each photo: the class's inverse frequency ** `strength`."""
    weights = np.bincount(labels).clip(1).astype(np.float64) ** -strength
    chosen: npt.NDArray[np.float64] = weights[labels]
    chosen /= chosen.sum()
    return chosen


def epoch_order(
    count: int, epoch: int, seed: int, weights: npt.NDArray[np.float64] | None = None
) -> Rows:
    """The rows of an epoch: a permutation, or `count` draws with these `weights`."""
    generator = random("order", seed, epoch)
    if weights is None:
        return generator.permutation(count)
    return generator.choice(count, count, p=weights)


def batch_count(count: int, batch_size: int) -> int:
    """How many batches `count` photos make."""
    return -(-count // batch_size)


def batch_rows(order: Rows, batch_size: int) -> list[Rows]:
    """The rows of each batch, none larger than `batch_size`, their sizes at most one apart.

    Dealing evenly leaves no tail of one photo, which would weigh as much as a full batch.
    """
    if len(order) == 0:
        return []
    return list(np.array_split(order, batch_count(len(order), batch_size)))
