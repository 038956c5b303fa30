"""What goes in: a sample of each example, for its fingerprint and the channels' figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from houndsight.debugger.hook.layout import Layout
from houndsight.debugger.hook.sampling import is_plain
from houndsight.debugger.record import Statistic

__all__ = ["INPUT_STATISTICS", "InputSample", "InputSampler"]

EACH = 64
"""Values of an example; the same ones whatever the size of the batch."""
MOST_CHANNELS = 16
INPUT_STATISTICS = (Statistic.MEAN, Statistic.STD, Statistic.MINIMUM, Statistic.MAXIMUM)
Array = npt.NDArray[Any]
# Odd multipliers of a multiply-and-add hash; fixed, so that runs can be compared.
MULTIPLIERS = np.random.default_rng(20_260_101).integers(1, 2**62, EACH, np.int64) * 2 + 1


class InputSample:
    """(examples, values) of a batch, and which channel and place each value is of."""

    __slots__ = ("channels", "count", "layout", "values")

    def __init__(
        self, values: Array | Tensor, channels: Array, count: int, layout: Layout | None
    ) -> None:
        self.values, self.channels, self.count = values, channels, count
        self.layout = layout


class InputSampler:
    """Samples `(batch, ...)` tensors at fixed places of each example."""

    def __init__(self) -> None:
        self._key: Any = None
        self._where: Any = None
        self._extent = 0
        self._plain = False
        self._channels = np.empty(0, np.int64)
        self._count = 0
        self._layout: Layout | None = None
        self.images = True
        """Whether the inputs are images, with figures for each channel, and no features."""

    def take(self, inputs: Tensor) -> InputSample | None:
        """A copy of the sample; None of what is no batch."""
        if inputs.ndim < 2 or inputs.numel() == 0:
            return None
        flat = inputs.detach()
        key = (inputs.shape[1:], inputs.stride()[1:], inputs.dtype, inputs.device)
        if key != self._key:
            self._plan(flat)
            self._key = key
        rows = flat.as_strided((len(flat), self._extent), (flat.stride(0), 1))
        if self._plain:
            values: Any = rows.numpy().take(self._where, axis=1)
        else:
            values = rows.index_select(1, self._where)
        if not self.images:
            return InputSample(values, self._channels, 0, None)
        return InputSample(values, self._channels, self._count, self._layout)

    def _plan(self, inputs: Tensor) -> None:
        shape, strides = tuple(inputs.shape[1:]), inputs.stride()[1:]
        numel = int(np.prod(shape))
        self._layout = None
        if self.images and Layout.fits(shape) and shape[0] <= MOST_CHANNELS:
            self._layout = Layout(shape, EACH)
            coordinates = self._layout.coordinates
        else:
            # Places as of a golden-ratio sequence: even over channels, rows and columns.
            places = np.arange(EACH) * 0.6180339887498949 % 1.0
            chosen = np.unique((places * numel).astype(np.int64))
            coordinates = np.unravel_index(chosen, shape)
        self._where = sum(
            (c * s for c, s in zip(coordinates, strides, strict=True)),
            np.zeros_like(coordinates[0]),
        )
        self._extent = int(1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)))
        self._plain = is_plain(inputs)
        if not self._plain:
            self._where = torch.from_numpy(self._where).to(inputs.device)
        self._count = shape[0] if len(shape) > 1 and shape[0] <= MOST_CHANNELS else 1
        self._channels = coordinates[0] if self._count > 1 else np.zeros_like(coordinates[0])


def fingerprints(values: Array) -> Array:
    """(...) whole numbers; equal for equal samples (..., values)."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64)
    with np.errstate(over="ignore"):
        mixed = bits @ MULTIPLIERS[: bits.shape[-1]]
        return np.asarray(mixed ^ (mixed >> 29))


def channel_statistics(values: Array, channels: Array, count: int) -> Array:
    """(n, statistics, channels) of `INPUT_STATISTICS`, of samples (n, examples, values)."""
    out = np.full((len(values), len(INPUT_STATISTICS), count), np.nan, np.float32)
    with np.errstate(all="ignore"):
        for channel in range(count):
            column = values[:, :, channels == channel].reshape(len(values), -1)
            if column.size:
                figures = (column.mean(1), column.std(1), column.min(1), column.max(1))
                out[:, :, channel] = np.stack(figures, 1)
    return out
