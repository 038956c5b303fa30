"""What a step of a training was made of, kept so that it can be done again on a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Batch", "TrainingStep", "cloned", "compute_loss", "follow_output", "size_bytes"]

Transform = Callable[[Tensor], Tensor]
TRANSFORMS: Mapping[str, Transform] = {
    "nothing": lambda output: output,
    "softmax": lambda output: output.softmax(1),
    "log_softmax": lambda output: output.log_softmax(1),
    "sigmoid": lambda output: output.sigmoid(),
    "squeeze": lambda output: output.squeeze(),
    "flatten": lambda output: output.flatten(1),
    "squeeze and sigmoid": lambda output: output.squeeze().sigmoid(),
}
"""What scripts do to a model's output before the loss gets it."""
CLOSE = 1e-5


@dataclass(eq=False)
class Batch:
    """One forward with its loss."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    targets: Tensor
    kind: str
    """The loss function's name in `torch.nn.functional`."""
    settings: Mapping[str, Any]
    transform: str
    """Of `TRANSFORMS`."""
    value: float
    """The loss as the script had it."""


@dataclass(eq=False)
class TrainingStep:
    """What came before one step of the optimizer."""

    batches: list[Batch]
    rates: tuple[float, ...]
    """Of all groups of all optimizers."""
    gradient_norm: float
    """Of the gradients as the optimizer got them."""
    stale: bool = False
    """Whether gradients of the step before were still there."""
    losses: list[float] = field(default_factory=list)
    """Of all micro-batches, those that cannot be done again included."""


def follow_output(output: Tensor | None, logits: Tensor | None) -> str:
    """What made the loss's input of the model's output; empty when it cannot be told."""
    if output is None or logits is None:
        return ""
    for name, transform in TRANSFORMS.items():
        try:
            made = transform(output)
        except (RuntimeError, IndexError):
            continue
        same = made.shape == logits.shape
        if same and torch.allclose(made, logits, rtol=CLOSE, atol=CLOSE, equal_nan=True):
            return name
    return ""


def compute_loss(batch: Batch, output: Tensor, *, kind: str = "", transform: str = "") -> Tensor:
    """The batch's loss for another output of a model, by its own way there or another one."""
    function = getattr(F, kind or batch.kind)
    settings = {} if kind and kind != batch.kind else dict(batch.settings)
    settings = {k: v.to(output.device) if isinstance(v, Tensor) else v for k, v in settings.items()}
    loss: Tensor = function(
        TRANSFORMS[transform or batch.transform](output), batch.targets, **settings
    )
    return loss.mean()


def cloned(value: Any) -> Any:
    """The same with copies of its tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, tuple | list):
        copies = [cloned(v) for v in value]
        return type(value)(copies) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {k: cloned(v) for k, v in value.items()}
    return value


def size_bytes(value: Any) -> int:
    """What the tensors in it take."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        value = list(value.values())
    return sum(map(size_bytes, value)) if isinstance(value, tuple | list) else 0
