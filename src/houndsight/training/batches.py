"""What the trainer reads: batches of photos, or of activations at the fine-tuning boundary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from houndsight.errors import DataError
from houndsight.training.order import (
    WHOLE,
    Shard,
    batch_count,
    batch_rows,
    epoch_order,
    random,
    sampling_weights,
)
from houndsight.training.prefetch import prefetch
from houndsight.training.recipe import Recipe

__all__ = ["EVALUATION_BATCH", "ActivationBatches", "Batch", "Batches", "Ordering"]

EVALUATION_BATCH = 64


class Batch(NamedTuple):
    """Photos `(b, 3, s, s)` or activations `(b, ...)`, class indices `(b,)`, photo ids `(b,)`."""

    inputs: Tensor
    targets: Tensor
    ids: Tensor


class Batches(Protocol):
    """A split, cut into batches.

    `iterate` gives those of an epoch from batch `start` on. It is a pure function of its
    arguments: the same epoch and seed give the same batches again, whatever was read before.
    """

    @property
    def kind(self) -> str:
        """`images` or `activations`: which part of the classifier they go into."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class indices `(n,)` of all photos, in the split's order."""

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """Ids `(n,)` of all photos, in the split's order."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def iterate(
        self, epoch: int, seed: int, *, shard: Shard = WHOLE, start: int = 0
    ) -> Iterator[Batch]:
        """The batches of an epoch; of each, the part that `shard` takes."""


class Ordering:
    """How a split is dealt into batches: for training by a recipe, without one as it stands."""

    def __init__(
        self, labels: npt.NDArray[np.int64], recipe: Recipe | None, batch_size: int | None
    ) -> None:
        if len(labels) == 0:
            raise DataError("The split has no photos; training and evaluation need at least one.")
        self.count = len(labels)
        self.shuffle = recipe is not None
        self.batch_size = batch_size or (recipe.batch_size if recipe else EVALUATION_BATCH)
        balanced = recipe is not None and recipe.balance == "sampling"
        self.weights = (
            sampling_weights(labels, recipe.balance_strength) if recipe and balanced else None
        )

    def __len__(self) -> int:
        return batch_count(self.count, self.batch_size)

    def rows(self, epoch: int, seed: int) -> list[npt.NDArray[np.int64]]:
        """The rows of each batch of an epoch."""
        order = np.arange(self.count)
        if self.shuffle:
            order = epoch_order(self.count, epoch, seed, self.weights)
        return batch_rows(order, self.batch_size)


class ActivationBatches:
    """Cached activations at the boundary, plain and, when training, mirrored by chance.

    With a `recipe` the batches are for training: shuffled, of its size, balanced if it says so.
    Rows are gathered in a thread, so that reading overlaps with training.
    """

    kind = "activations"

    def __init__(
        self,
        plain: Any,
        labels: npt.NDArray[np.integer],
        ids: npt.NDArray[np.integer] | None = None,
        *,
        recipe: Recipe | None = None,
        mirrored: Any | None = None,
        valid: npt.NDArray[np.bool_] | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Args:
        plain: anything that `[rows]` gathers `(len(rows), ...)` from, such as a memory map.
        labels: `(n,)`.
        ids: `(n,)`, 0 to n - 1 by default.
        recipe: given for training, left out for evaluation.
        mirrored: the same photos mirrored; used for every second one when the recipe flips.
        valid: `(n,)`, False for rows to leave out (photos that could not be read).
        batch_size: instead of the recipe's.

        Raises:
            DataError: no row is left.
        """
        kept = np.arange(len(labels)) if valid is None else np.flatnonzero(valid)
        all_ids = np.arange(len(labels)) if ids is None else np.asarray(ids)
        self._kept = kept
        self.labels = np.asarray(labels, np.int64)[kept]
        self.ids = np.asarray(all_ids, np.int64)[kept]
        self._plain = plain
        self._mirrored = mirrored if recipe is not None and recipe.flip else None
        self._ordering = Ordering(self.labels, recipe, batch_size)

    def __len__(self) -> int:
        return len(self._ordering)

    def iterate(
        self, epoch: int, seed: int, *, shard: Shard = WHOLE, start: int = 0
    ) -> Iterator[Batch]:
        """See `Batches.iterate`."""
        numbered = list(enumerate(self._ordering.rows(epoch, seed)))[start:]
        return prefetch(
            self._batch(rows, random("mirror", seed, epoch, number), shard)
            for number, rows in numbered
        )

    def _batch(
        self, rows: npt.NDArray[np.int64], generator: np.random.Generator, shard: Shard
    ) -> Batch:
        turned = generator.random(len(rows))[shard.rows] < 0.5
        rows = rows[shard.rows]
        inputs = np.asarray(self._plain[self._kept[rows]])
        if self._mirrored is not None and turned.any():
            inputs = np.array(inputs)
            inputs[turned] = self._mirrored[self._kept[rows[turned]]]
        return Batch(
            torch.from_numpy(np.require(inputs, requirements=["C", "W"])),
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(self.ids[rows]),
        )
