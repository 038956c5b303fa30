"""What a kind of fault is, and what the lists of kinds are written with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fault_suite.spec import Spec

__all__ = [
    "BATCHNORM",
    "COLOURED",
    "DIFFERS",
    "INITIAL",
    "NOT_HELD",
    "NO_MATCH",
    "RELU",
    "SCRATCH",
    "TOO_HIGH",
    "TOO_LOW",
    "TRANSFER",
    "WRONG_LOSS",
    "Fault",
    "put",
    "rate",
]

BATCHNORM = (
    "batchnorm",
    "bias_batchnorm",
    "resnet",
    "depthwise",
    "densenet",
    "squeeze",
    "inception",
    "inverted",
    "grouped",
    "vgg",
    "repvgg",
    "shuffle",
    "wide",
    "ghost",
    "dilated",
    "pyramid",
)
RELU = (*BATCHNORM, "plain", "groupnorm", "nin")
COLOURED = ("textures", "shapes", "glyphs", "scenes", "flags", "fruits", "capsules")
OPTIMIZERS, STARTS = ("sgd", "adam"), ("scratch", "transfer")
TOO_HIGH, TOO_LOW = "learning-rate-too-high", "learning-rate-too-low"
SCRATCH, TRANSFER = ("scratch",), ("transfer",)
DIFFERS = ("preprocessing-differs",)
NO_MATCH = ("labels-shuffled", "class-mapping-differs", "labels-noisy")
WRONG_LOSS = ("wrong-loss", "softmax-before-loss")
INITIAL = ("poor-initialisation",)
NOT_HELD = ("parameters-not-in-optimizer", "backbone-frozen")


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    inject: Callable[[Spec], Spec]
    causes: tuple[str, ...]
    """Names of causes that are right answers."""
    optimizers: tuple[str, ...] = OPTIMIZERS
    starts: tuple[str, ...] = STARTS
    networks: tuple[str, ...] = ()
    """Where it can be injected; none: everywhere."""
    data: tuple[str, ...] = ()
    fix: Mapping[str, Any] = field(default_factory=dict)
    """A change that a person can make who knows the cause, in the words of `Cause.change`; empty
    where there is none but to collect or label photos anew. The earlier parts have it not."""

    def fits(self, spec: Spec) -> bool:
        """Whether it can be injected into that training."""
        return (
            spec.optimizer in self.optimizers
            and spec.start in self.starts
            and (not self.networks or spec.network in self.networks)
            and (not self.data or spec.data in self.data)
        )


def put(**values: Any) -> Callable[[Spec], Spec]:
    """Set fields of the spec."""
    return lambda spec: replace(spec, **values)


def rate(sgd: float, adam: float) -> Callable[[Spec], Spec]:
    """Multiply the learning rate."""
    return lambda spec: replace(
        spec, learning_rate=spec.learning_rate * (sgd if spec.optimizer == "sgd" else adam)
    )
