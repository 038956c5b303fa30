"""Blending pairs of photos of a batch: MixUp and CutMix.

Both make a network less sure of itself and help most with many epochs on few photos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from houndsight.errors import SettingError
from houndsight.training.recipe import Recipe

__all__ = ["Mixer", "cut_box", "cutmix", "mixup"]


def mixup(inputs: Tensor, targets: Tensor, order: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """`share` of each photo and `1 - share` of its partner (Zhang et al. 2018, section 2).

    On activations this is manifold mixup (Verma et al. 2019).

    Args:
        inputs: `(b, ...)`.
        targets: `(b, classes)`, probabilities.
        order: `(b,)`, each photo's partner.
        share: 0 to 1.
    """
    return (
        torch.lerp(inputs[order], inputs, share),
        torch.lerp(targets[order], targets, share),
    )


def cut_box(
    height: int, width: int, share: float, centre: tuple[float, float]
) -> tuple[slice, slice]:
    """The box of `1 - share` of the area around `centre` (0 to 1), clipped at the edges.

    Yun et al. 2019, "CutMix", equation 2.
    """
    side = (1.0 - share) ** 0.5
    edges = []
    for length, middle in ((height, centre[0]), (width, centre[1])):
        half, at = round(length * side) // 2, int(middle * length)
        edges.append(slice(max(at - half, 0), min(at + half, length)))
    return edges[0], edges[1]


def cutmix(
    inputs: Tensor, targets: Tensor, order: Tensor, box: tuple[slice, slice]
) -> tuple[Tensor, Tensor]:
    """Each photo with `box` taken from its partner; targets blended by the area that is left.

    Args:
        inputs: `(b, c, h, w)`.
        targets: `(b, classes)`, probabilities.
        order: `(b,)`, each photo's partner.
        box: rows and columns.
    """
    rows, columns = box
    height, width = inputs.shape[2:]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    pasted = inputs.clone()
    pasted[:, :, rows, columns] = inputs[order][:, :, rows, columns]
    return pasted, torch.lerp(targets[order], targets, 1.0 - area / (height * width))


@dataclass(frozen=True)
class Mixer:
    """Applies the recipe's blending to a batch; leaves it alone when both are off."""

    mixup: float
    cutmix: float
    classes: int

    @classmethod
    def of(cls, recipe: Recipe, classes: int) -> Mixer:
        """The blending a recipe asks for."""
        return cls(recipe.mixup, recipe.cutmix, classes)

    def __call__(
        self, inputs: Tensor, targets: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Blended inputs, and targets `(b, classes)`; class indices `(b,)` where nothing blends.

        Raises:
            SettingError: CutMix is asked of tokens, which have no rows and columns.
        """
        if not (self.mixup or self.cutmix) or len(targets) < 2:
            return inputs, targets
        cutting = bool(self.cutmix) and (not self.mixup or generator.random() < 0.5)
        alpha = self.cutmix if cutting else self.mixup
        share = float(generator.beta(alpha, alpha))
        order = torch.from_numpy(generator.permutation(len(targets))).to(inputs.device)
        soft = F.one_hot(targets, self.classes).to(torch.float32)
        if not cutting:
            return mixup(inputs, soft, order, share)
        if inputs.ndim != 4:
            raise SettingError(
                f"training.cutmix is {self.cutmix}, but this backbone's activations are tokens "
                "without rows and columns; use training.mixup instead, or train on photos."
            )
        centre = (float(generator.random()), float(generator.random()))
        box = cut_box(inputs.shape[2], inputs.shape[3], share, centre)
        return cutmix(inputs, soft, order, box)
