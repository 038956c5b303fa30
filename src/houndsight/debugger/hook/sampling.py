"""Which elements of a tensor are looked at: a fixed strided sample, cheap to gather."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["LIMIT", "Positions", "is_plain", "stacked", "strided", "to_numpy"]

LIMIT = 512
"""At most this many values of a tensor."""
Array = npt.NDArray[Any]


def strided(numel: int, limit: int = LIMIT) -> slice:
    """At most `limit` of `numel` elements, evenly; the stride shares no divisor with `numel`.

    A stride of 144 over a kernel of 3 x 3 would always meet the same tap; 143 meets all.
    """
    stride = max(numel // limit, 1)
    while stride > 1 and math.gcd(stride, numel) > 1:
        stride -= 1
    return slice(0, min(numel, (limit - 1) * stride + 1), stride)


def is_plain(tensor: Tensor) -> bool:
    """Whether NumPy can look at its memory: float32 on the CPU."""
    return tensor.dtype is torch.float32 and tensor.device.type == "cpu"


def to_numpy(values: Array | Tensor) -> Array:
    """Gathered values as float32 in main memory."""
    if isinstance(values, Tensor):
        return np.asarray(values.detach().float().cpu().numpy())
    return values


def stacked(values: Sequence[Array | Tensor]) -> Array:
    """Values of one shape together, (n, ...), in main memory; float32 unless whole numbers."""
    first = values[0]
    if not isinstance(first, Tensor):
        return np.stack([v for v in values if not isinstance(v, Tensor)])
    tensors = [v.detach() for v in values if isinstance(v, Tensor)]
    if first.is_cuda:
        tensors = list(torch.stack(tensors).cpu())
    if first.dtype in (torch.bfloat16, torch.float16, torch.float64):
        tensors = [t.float() for t in tensors]
    # Not by PyTorch, whose threads would be a second team beside the training's.
    return np.stack([t.cpu().numpy() for t in tensors])


class Positions:
    """A fixed sample of one module's output: up to 512 values, the same number for each unit.

    A unit is a channel of `(batch, channels, height, width)` and an entry of the last dimension
    of anything else; the sample goes over batch and space.
    """

    __slots__ = ("contiguous", "device", "dtype", "each", "extent", "plain", "shape", "where")

    def __init__(self, output: Tensor) -> None:
        self.shape, self.dtype, self.device = output.shape, output.dtype, output.device
        self.plain = is_plain(output)
        logical, self.each = _logical(tuple(output.shape))
        self.contiguous = output.is_contiguous()
        coordinates = np.unravel_index(logical, tuple(output.shape))
        strides = output.stride()
        physical = sum(
            (c * s for c, s in zip(coordinates, strides, strict=True)), np.zeros_like(logical)
        )
        self.extent = 1 + sum(
            (n - 1) * s for n, s in zip(output.shape, strides, strict=True) if n > 0
        )
        self.where: Any = physical if self.plain else torch.from_numpy(physical).to(output.device)

    def fit(self, output: Tensor) -> bool:
        """Whether they were made for an output like this one."""
        return (
            output.shape == self.shape
            and output.dtype is self.dtype
            and output.is_contiguous() == self.contiguous
        )

    def take(self, output: Tensor) -> Array | Tensor:
        """The sample, a copy: (units * each,), unit after unit."""
        flat = output.detach()
        if not self.contiguous:
            flat = flat.as_strided((self.extent,), (1,))
        if self.plain:
            taken: Array = flat.numpy().reshape(-1).take(self.where)
            return taken
        return flat.view(-1).index_select(0, self.where)


def _logical(shape: tuple[int, ...]) -> tuple[Array, int]:
    """Flat logical positions, unit after unit, and how many a unit has."""
    units_at = 1 if len(shape) in (3, 4, 5) and len(shape) != 3 else len(shape) - 1
    count = shape[units_at] if shape else 1
    others = [n for i, n in enumerate(shape) if i != units_at]
    rest = math.prod(others)
    units = np.arange(count) if count <= LIMIT else np.arange(LIMIT) * count // LIMIT
    each = max(min(LIMIT // len(units), rest), 1)
    # Neighbouring units look at other places, so that few places serve many units.
    offset = (np.arange(len(units)) * 7919) % max(rest // each, 1)
    places = (np.arange(each) * rest // each)[None, :] + offset[:, None]
    coordinates = list(np.unravel_index(places % rest, others)) if others else []
    unit = np.broadcast_to(units[:, None], places.shape)
    coordinates.insert(units_at, unit)
    if not shape:
        return np.zeros(1, np.int64), 1
    flat = np.ravel_multi_index(tuple(np.ascontiguousarray(c) for c in coordinates), shape)
    return flat.reshape(-1).astype(np.int64), each
