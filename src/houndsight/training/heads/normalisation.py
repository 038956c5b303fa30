"""What happens to a photo's features before the linear layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from houndsight.errors import SettingError

__all__ = ["NORMALISATIONS", "Features", "Normalisation", "blocks", "check_kind"]

NORMALISATIONS = ("none", "l2", "standardise")

Features = np.ndarray[Any, Any] | Tensor
"""`(n, d)`, of any floating type; a memory map is read a block at a time."""

BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class Normalisation:
    """`none`; `l2` divides a row by its length; `standardise` takes `center` off and divides by
    `scale`. The other two leave `center` and `scale` at 0 and 1."""

    kind: str
    center: Tensor
    """`(d,)`"""
    scale: Tensor
    """`(d,)`"""

    @classmethod
    def plain(cls, kind: str, width: int) -> Normalisation:
        """One that needs nothing from the data, or is yet to be given it."""
        return cls(check_kind(kind), torch.zeros(width), torch.ones(width))

    def __call__(self, features: Tensor) -> Tensor:
        """The features `(n, d)`, normalised."""
        if self.kind == "l2":
            return torch.nn.functional.normalize(features, dim=1)
        if self.kind == "standardise":
            return (features - self.center) / self.scale
        return features


def check_kind(kind: str) -> str:
    """The kind, if there is such a one.

    Raises:
        SettingError: there is not.
    """
    if kind not in NORMALISATIONS:
        choices = ", ".join(NORMALISATIONS)
        raise SettingError(f"normalise is {kind!r}; it must be one of {choices}.")
    return kind


def blocks(features: Features) -> Iterator[Tensor]:
    """The rows as float32, some thousand at a time."""
    for first in range(0, len(features), BLOCK_ROWS):
        rows = features[first : first + BLOCK_ROWS]
        if isinstance(rows, Tensor):
            yield rows.to(torch.float32)
        else:
            yield torch.from_numpy(np.array(rows, dtype=np.float32))
