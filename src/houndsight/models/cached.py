"""Features of some photos, read from a pack."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from houndsight.findings import Finding
from houndsight.models.pack import Pack

__all__ = ["CachedFeatures"]

IN_MEMORY_BYTES = 256 * 2**20
"""Up to this much is gathered into memory; more goes into a temporary memory map."""
_CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class CachedFeatures:
    """Features `(n, d)` float32, or activations `(n, c, h, w)` float16, in a split's order.

    `cached[rows]` gathers some of them, reading no others; `array` is all of them. Rows of photos
    that could not be decoded are zeros: `valid` says which to use.
    """

    pack: Pack
    rows: NDArray[Any]
    """All rows of the pack, mapped at once, so that eviction takes nothing from who reads."""
    row_numbers: NDArray[np.int64]
    """(n,): where each photo's row stands in the pack, -1 for none."""
    errors: dict[int, str] = field(default_factory=dict)
    """Photo id -> why it has no features."""
    computed: int = 0
    """Rows computed now, in this view; the others came from the cache or are a copy's."""
    decoded: int = 0
    """Photos decoded now."""
    findings: tuple[Finding, ...] = ()
    """What is worth telling about how they were computed, such as a slow runtime."""

    def __len__(self) -> int:
        return len(self.row_numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `array`."""
        return (len(self), *self.pack.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 for features, float16 for activations."""
        return self.pack.dtype

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(n,): whether the photo has features."""
        return self.row_numbers >= 0

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """The rows at these positions of the split, as an array of their own."""
        numbers = np.atleast_1d(self.row_numbers[index])
        gathered = np.zeros((len(numbers), *self.pack.shape), self.dtype)
        there = numbers >= 0
        gathered[there] = self.rows[numbers[there]]
        return gathered[0] if np.ndim(self.row_numbers[index]) == 0 else gathered

    @functools.cached_property
    def array(self) -> NDArray[Any]:
        """All rows: a memory map of the pack itself where they stand in order, else gathered."""
        first = int(self.row_numbers[0]) if len(self) else -1
        if first >= 0 and np.array_equal(self.row_numbers, np.arange(first, first + len(self))):
            return self.rows[first : first + len(self)]
        if len(self) * self.pack.row_bytes <= IN_MEMORY_BYTES:
            return self[:]
        return self._gather_to_disk()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    def _gather_to_disk(self) -> NDArray[Any]:
        chunk = max(1, _CHUNK_BYTES // self.pack.row_bytes)
        # The file has no name, so it goes when the map does.
        with tempfile.TemporaryFile(dir=self.pack.folder.parent) as file:
            gathered = np.memmap(file, self.dtype, mode="w+", shape=self.shape)
            for start in range(0, len(self), chunk):
                gathered[start : start + chunk] = self[start : start + chunk]
        return gathered
