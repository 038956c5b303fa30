"""A moving average of the weights, which often validates better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["WeightAverage", "averaging_decay"]


def averaging_decay(decay: float, step: int) -> float:
    """The decay at `step` (1 for the first), lower at the start so that the average has no bias.

    `min(decay, (1 + step) / (10 + step))`, as in TensorFlow's ExponentialMovingAverage.
    """
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """The exponential moving average of named tensors (Polyak and Juditsky 1992).

    Tensors that are not floating-point are copied. With a `decay` of 0 it is the tensors.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self._live = dict(tensors)
        self._shadow = {name: t.detach().clone() for name, t in self._live.items()} if decay else {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the tensors after optimizer step `step`, 1 for the first."""
        if not self.decay:
            return
        keep = averaging_decay(self.decay, step)
        smooth = [n for n, t in self._live.items() if t.is_floating_point()]
        torch._foreach_lerp_(
            [self._shadow[n] for n in smooth], [self._live[n].detach() for n in smooth], 1 - keep
        )
        for name in self._live.keys() - set(smooth):
            self._shadow[name].copy_(self._live[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the tensors have the average's values."""
        live = {name: t.detach().clone() for name, t in self._live.items()} if self.decay else {}
        self._fill(self._shadow)
        try:
            yield
        finally:
            self._fill(live)

    def state(self) -> dict[str, Tensor]:
        """What to save."""
        return dict(self._shadow)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        for name, tensor in self._shadow.items():
            tensor.copy_(state[name])

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in values.items():
            self._live[name].copy_(tensor)
