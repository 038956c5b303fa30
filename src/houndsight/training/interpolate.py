"""A network between the one fine-tuning began with and the one it ended with."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = ["interpolated"]


@torch.no_grad()
def interpolated(before: Classifier, after: Classifier, share: float = 0.5) -> Classifier:
    """The network whose weights are `share` of the way from `before` to `after`.

    Between the ends of one fine-tuning the loss has no hill, and the middle often generalises
    better than either (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation
    1; half way is what they take without tuning it). Both must be the same architecture.
    """
    middle = copy.deepcopy(after)
    begun = before.state_dict()
    for name, tensor in middle.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.lerp(begun[name], tensor, share))
    return middle
