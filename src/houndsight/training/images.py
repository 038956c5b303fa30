"""Batches of photos, decoded by worker processes while the network trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt
import torch

from houndsight.data.decode import MAX_PIXELS, Preprocessing, normalise
from houndsight.data.decoding import decode_batches
from houndsight.training.augment import Augmentation
from houndsight.training.batches import Batch, Ordering
from houndsight.training.order import WHOLE, Shard, random
from houndsight.training.prefetch import prefetch
from houndsight.training.recipe import Recipe

if TYPE_CHECKING:
    from houndsight.data.folder import Split

__all__ = ["ImageBatches", "enlarged"]

Pixels = npt.NDArray[np.uint8]

AUGMENTING_THREADS = 4
MARGIN = 8 / 7
"""How much larger a photo is decoded for a random crop: 256 px for 224."""


def enlarged(preprocessing: Preprocessing) -> Preprocessing:
    """`preprocessing` with all of the photo that its fit may show, at a size to crop from."""
    return replace(preprocessing, size=round(preprocessing.size * MARGIN), crop_fraction=1.0)


class ImageBatches:
    """The photos of a split.

    With a `recipe` the batches are for training: shuffled, of its size, augmented. Without one
    they are exactly what `decode` gives, in the split's order. A photo that cannot be decoded is
    left out and stands in `errors`.
    """

    kind = "images"

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        *,
        recipe: Recipe | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.labels: npt.NDArray[np.int64] = np.asarray(split.labels, np.int64)
        self.ids: npt.NDArray[np.int64] = np.asarray(split.ids, np.int64)
        self.errors: dict[int, str] = {}
        self._paths: Sequence[Path] = split.paths()
        self._preprocessing, self._enlarged = preprocessing, enlarged(preprocessing)
        self._augmentation = Augmentation.of(recipe, preprocessing.size) if recipe else None
        self._ordering = Ordering(self.labels, recipe, batch_size)
        self._workers, self._max_pixels = workers, max_pixels

    def __len__(self) -> int:
        return len(self._ordering)

    def iterate(
        self, epoch: int, seed: int, *, shard: Shard = WHOLE, start: int = 0
    ) -> Iterator[Batch]:
        """See `Batches.iterate`."""
        return prefetch(self._batches(epoch, seed, shard, start))

    def _batches(self, epoch: int, seed: int, shard: Shard, start: int) -> Iterator[Batch]:
        rows = self._ordering.rows(epoch, seed)[start:]
        parts = [part[shard.rows] for part in rows]
        photos = self._photos(np.concatenate([*parts, np.empty(0, np.int64)]))
        with ThreadPoolExecutor(AUGMENTING_THREADS) as pool:
            for number, part in enumerate(parts, start):
                taken = [image for _, image in zip(part, photos, strict=False)]
                places = range(shard.index, len(part) * shard.count, shard.count)
                keys = [(seed, epoch, number, place) for place in places]
                yield self._batch(part, taken, keys, pool)

    def _photos(self, rows: npt.NDArray[np.int64]) -> Iterator[Pixels | None]:
        """The photos of these rows in order, None for one that cannot be decoded."""
        wanted = self._preprocessing if self._augmentation is None else self._enlarged
        for decoded in decode_batches(
            Picked(self._paths, rows),
            wanted,
            batch_size=self._ordering.batch_size,
            workers=self._workers,
            max_pixels=self._max_pixels,
        ):
            images = dict(zip(decoded.indices.tolist(), decoded.images, strict=True))
            self.errors |= {int(self.ids[rows[i]]): why for i, why in decoded.errors.items()}
            for index in sorted(images.keys() | decoded.errors.keys()):
                yield images.get(index)

    def _batch(
        self,
        rows: npt.NDArray[np.int64],
        images: list[Pixels | None],
        keys: Sequence[tuple[int, ...]],
        pool: ThreadPoolExecutor,
    ) -> Batch:
        kept = [place for place, image in enumerate(images) if image is not None]
        chosen = [image for image in images if image is not None]
        if self._augmentation is not None:
            generators = [random("augment", *keys[place]) for place in kept]
            chosen = list(pool.map(self._augmentation, chosen, generators))
        size = self._preprocessing.size
        pixels = np.stack(chosen) if chosen else np.empty((0, size, size, 3), np.uint8)
        return Batch(
            torch.from_numpy(normalise(pixels, self._preprocessing)),
            torch.from_numpy(self.labels[rows[kept]]),
            torch.from_numpy(self.ids[rows[kept]]),
        )


class Picked(Sequence[Path]):
    """Some of `paths` in another order, without holding a path for each."""

    def __init__(self, paths: Sequence[Path], rows: npt.NDArray[np.int64]) -> None:
        self._paths, self._rows = paths, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        if isinstance(index, slice):
            return Picked(self._paths, self._rows[index])
        return self._paths[int(self._rows[index])]
