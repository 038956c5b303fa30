"""A head as it comes out of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor

from houndsight.training.heads.normalisation import Features, Normalisation, blocks
from houndsight.training.heads.parameters import HeadParameters

if TYPE_CHECKING:
    from houndsight.models.classifier import Head

__all__ = ["FittedHead"]


@dataclass(frozen=True)
class FittedHead:
    """A linear head and how well it does on the validation photos."""

    parameters: HeadParameters
    weight: Tensor
    """`(classes, d)`, for the normalised features."""
    bias: Tensor
    """`(classes,)`"""
    normalise: str
    center: Tensor
    """`(d,)`"""
    scale: Tensor
    """`(d,)`"""
    temperature: float = 1.0
    """Logits are divided by it, fitted on the validation photos."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Of the validation photos, after temperature scaling; empty without any."""
    seconds: float = 0.0
    iterations: int = 0
    converged: bool = True

    @property
    def head(self) -> Head:
        """The head as a module: features `(n, d)` to logits, temperature left out."""
        from houndsight.models.classifier import Head

        classes, width = self.weight.shape
        kind = cast(Literal["none", "l2", "standardise"], self.normalise)
        head = Head(width, classes, normalise=kind)
        head.load_state_dict(
            {
                "linear.weight": self.weight,
                "linear.bias": self.bias,
                "center": self.center,
                "scale": self.scale,
            }
        )
        return head

    def logits(self, features: Features) -> Tensor:
        """Logits `(n, classes)` of features `(n, d)`, temperature left out."""
        normalise = Normalisation(self.normalise, self.center, self.scale)
        parts = [normalise(part) @ self.weight.T + self.bias for part in blocks(features)]
        return torch.cat(parts) if parts else self.bias.new_zeros(0, len(self.bias))
