"""What is taken of a forward and of a step, as it is taken; the writer's thread reduces it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from torch import Tensor

from houndsight.debugger.hook.losses import LossCall
from houndsight.debugger.record import Mode

__all__ = ["Chunk", "Forward", "RawTensors", "Samples", "Step"]

Array = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Samples:
    """One sample after the other, of the tensors named."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    values: Array | Tensor


@dataclass(slots=True, eq=False)
class Forward:
    """One call of the root module."""

    step: int
    time: float
    gradients: bool
    training: bool
    mode: Mode | None = None
    """None until it is known whether a backward pass follows."""
    number: int = -1
    """Among those of its mode."""
    batchnorm: float = float("nan")
    dropout: float = float("nan")
    batch: int = 0
    begun: int = 0
    """Its place among all forwards."""
    reached: int = 0
    """The latest forward that had begun when the backward pass came."""
    of_inputs: bool = False
    """Whether the input wants a gradient: an attack on it, or another network that made it."""
    inputs: Any = None
    """A sample of the input, and the channel of each of its positions."""
    output: Tensor | None = None
    """What the model gave, in the first steps."""
    thumbnails: tuple[int, Tensor] | None = None
    """Of every so-many-th photo, where they are wanted."""
    activations: list[tuple[int, Any, Array | Tensor]] | None = None
    """Slot, positions, sample; None where this forward is not sampled."""
    batchnorms: Any = None
    written: bool | None = None
    """Of the first forward of an evaluation: whether BatchNorm's running figures were written to
    by something else than training forwards; None where it is not known."""
    losses: list[LossCall] = field(default_factory=list)
    backward: bool = False
    stale: Any = None
    kept: Any = None
    gradient: Tensor | None = None
    """A copy of what came back to the output, where this forward is sampled."""
    stepped: bool = False
    """Whether an optimizer stepped after it, and no backward pass had reached it."""
    weights: tuple[tuple[str, ...], list[Tensor]] | None = None
    """Parameters and their lengths, at the first forward of an evaluation."""


@dataclass(slots=True, eq=False)
class Step:
    """One step of the optimizer."""

    step: int
    time: float
    forwards: list[Forward]
    number: int = 0
    """Of the last training forward before it."""
    names: tuple[str, ...] = ()
    """Parameters."""
    with_gradient: tuple[str, ...] = ()
    norms: list[Tensor] = field(default_factory=list)
    """Of the parameters, then of those gradients that there are."""
    gradient_scale: Any = None
    """What the gradients are still multiplied by, where the optimizer unscales them itself."""
    rates: tuple[Any, ...] = ()
    """Of the parameter groups."""
    largest_group: int = 0
    """The one with most parameters."""
    scale: Any = None
    """The gradient scaler's."""
    gradients: Samples | None = None
    late: bool = False
    """Whether it was first seen when it was over: `before`, too, is then of afterwards."""
    before: Samples | None = None
    after: Samples | None = None
    second_moments: Samples | None = None


@dataclass(slots=True, eq=False)
class RawTensors:
    """Whole tensors at a save interval: copies, by group and name."""

    step: int
    forward: int
    time: float
    tensors: dict[str, dict[str, Tensor]]


@dataclass(slots=True, eq=False)
class Chunk:
    """What was taken since the last one was handed over."""

    forwards: list[Forward] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    raw: list[RawTensors] = field(default_factory=list)
    begun: float = 0.0

    def __len__(self) -> int:
        return len(self.forwards) + len(self.steps) + len(self.raw)
