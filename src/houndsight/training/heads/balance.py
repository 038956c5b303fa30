"""Three treatments of class imbalance: class weights, balanced sampling, logit adjustment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from houndsight.errors import SettingError

__all__ = ["BALANCES", "Balance"]

BALANCES = ("none", "weights", "sampling", "logit_adjustment")


@dataclass(frozen=True)
class Balance:
    """What a treatment does to the loss.

    `row_weights` `(n,)` add up to 1; `offsets` `(classes,)` are added to the logits while
    training and left out afterwards.
    """

    row_weights: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, kind: str, strength: float, labels: Tensor, classes: int, seed: int = 0) -> Balance:
        """The treatment `kind` for these labels `(n,)`.

        `weights` weighs a photo by its class's inverse frequency to the power of `strength`.
        `sampling` draws photos in that proportion: all of a class equally often, save one.
        `logit_adjustment` adds `strength` times the log frequency to the logits
        (Menon et al. 2021, Long-tail learning via logit adjustment, equation 10).

        Raises:
            SettingError: there is no such treatment.
        """
        if kind not in BALANCES:
            raise SettingError(f"balance is {kind!r}; it must be one of {', '.join(BALANCES)}.")
        counts = torch.bincount(labels, minlength=classes).float()
        equal = torch.full((len(labels),), 1 / len(labels))
        offsets = torch.zeros(classes)
        if kind == "none":
            return cls(equal, offsets)
        if kind == "logit_adjustment":
            shares = counts.clamp_min(0.5) / len(labels)
            return cls(equal, strength * shares.log())
        weights = counts.clamp_min(1).pow(-strength)[labels]
        if kind == "sampling":
            weights = _draw(weights * len(labels) / weights.sum(), labels, seed)
        return cls(weights / weights.sum(), offsets)


def _draw(expected: Tensor, labels: Tensor, seed: int) -> Tensor:
    """How often each photo is drawn `(n,)`: its expectation, rounded up for some of a class."""
    generator = torch.Generator().manual_seed(seed)
    drawn = expected.floor()
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].argsort(stable=True)]
    rest = (expected - drawn)[order].double().cumsum(0)
    extra = rest.add(0.5).floor().diff(prepend=torch.zeros(1, dtype=torch.float64))
    drawn[order] += extra.to(drawn.dtype)
    return drawn
