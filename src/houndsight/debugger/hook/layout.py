"""How the photos of a batch are laid out: rough or smooth, coloured or grey, which way up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.record import Statistic

__all__ = ["LAYOUT_STATISTICS", "Layout"]

LAYOUT_STATISTICS = (Statistic.ROUGHNESS, Statistic.COLOUR, Statistic.TILT, Statistic.LEAN)
LEAST_EDGE = 4
TINY = 1e-12
Array = npt.NDArray[Any]


class Layout:
    """Places in photos (channels, height, width): some, their right neighbours, other channels.

    Args:
        shape: of one photo.
        count: how many places may be taken in all.
    """

    def __init__(self, shape: tuple[int, ...], count: int) -> None:
        channels, height, width = shape
        self.third = count // 3
        places = np.arange(self.third) * 0.6180339887498949 % 1.0
        base = np.unravel_index(
            (places * channels * height * (width - 1)).astype(np.int64),
            (channels, height, width - 1),
        )
        self.channel, self.row, self.column = (np.asarray(c, np.int64) for c in base)
        other = (self.channel + 1) % channels
        self.coordinates: tuple[Array, ...] = (
            np.concatenate([self.channel, self.channel, other]),
            np.tile(self.row, 3),
            np.concatenate([self.column, self.column + 1, self.column]),
        )
        """Of all places, by channel, row and column."""
        self._across = (self.column + 0.5) / width - 0.5
        self._down = (self.row + 0.5) / height - 0.5

    @staticmethod
    def fits(shape: tuple[int, ...]) -> bool:
        """Whether one example is a photo with neighbours to speak of."""
        return len(shape) == 3 and min(shape[1:]) >= LEAST_EDGE

    def statistics(self, values: Array) -> Array:
        """(n, statistics, 1) of `LAYOUT_STATISTICS`, of samples (n, examples, places)."""
        with np.errstate(all="ignore"):
            parts = (values[..., : self.third], values[..., self.third : 2 * self.third])
            base, right = parts
            other = values[..., 2 * self.third : 3 * self.third]
            spread = np.maximum(self._variance(base), TINY)
            rough = ((base - right) ** 2).mean((1, 2)) / (2 * spread)
            colour = ((base - other) ** 2).mean((1, 2)) / (2 * spread)
            centred = base - base.mean((1, 2), keepdims=True)
            scale = np.sqrt(spread)
            tilt = (centred * self._down).mean((1, 2)) / (self._down.std() * scale)
            lean = (centred * self._across).mean((1, 2)) / (self._across.std() * scale)
            return np.stack([rough, colour, tilt, lean], 1).astype(np.float32)[:, :, None]

    def _variance(self, base: Array) -> Array:
        """(n,) within channels."""
        found = [
            base[..., self.channel == channel].reshape(len(base), -1).var(1)
            for channel in np.unique(self.channel)
        ]
        return np.asarray(np.mean(found, axis=0))
