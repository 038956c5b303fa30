"""Causes that several rules propose, in one wording."""

from __future__ import annotations

import numpy as np

from houndsight.debugger.conditions import number
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import suggested_rate
from houndsight.debugger.record import Group, Statistic
from houndsight.findings import Cause

__all__ = [
    "NORMS",
    "dead_units",
    "died",
    "learning_rate_too_high",
    "learning_rate_too_low",
    "no_gradient",
    "too_deep",
]

NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")


def largest_rate(history: History) -> float:
    """The largest learning rate so far; NaN when none is known."""
    rates = history.scalar("learning_rate").of("learning_rate")
    return float(np.nanmax(rates)) if np.isfinite(rates).any() else float("nan")


def learning_rate_too_high(history: History, evidence: str, score: float = 0.5) -> Cause:
    """Steps so large that they overshoot."""
    rate, better = largest_rate(history), suggested_rate(history)
    if not better < rate:
        better = rate / 10
    known = np.isfinite(rate)
    return Cause(
        name="learning-rate-too-high",
        text=f"The learning rate of {number(rate)} is too high."
        if known
        else "The learning rate is too high.",
        fix=f"Lower the learning rate to about {number(better)}; warm it up over the first steps."
        if known
        else "Divide the learning rate by 10; warm it up over the first steps.",
        evidence=evidence,
        score=score,
        change={"learning_rate": float(f"{better:.2g}")} if known else {},
    )


def learning_rate_too_low(history: History, evidence: str, score: float = 0.5) -> Cause:
    """Steps so small that nothing changes."""
    rate, better = largest_rate(history), suggested_rate(history)
    known = bool(np.isfinite(rate) and rate > 0)
    if known and not better > rate:
        better = rate * 10
    return Cause(
        name="learning-rate-too-low",
        text=f"The learning rate of {number(rate)} is too low."
        if known
        else "The learning rate is too low.",
        fix=f"Raise the learning rate to about {number(better)}."
        if known
        else "Multiply the learning rate by 10.",
        evidence=evidence,
        score=score,
        change={"learning_rate": float(f"{better:.2g}")} if known else {},
    )


def gradient_of(history: History, name: str, first: int, last: int) -> float:
    """Median length of a parameter's gradient over those steps; NaN when it had none."""
    series = history.series(Group.GRADIENTS, Statistic.NORM).between(first, last)
    values = series.of(name)
    return float(np.median(values[np.isfinite(values)])) if np.isfinite(values).any() else np.nan


def no_gradient(history: History, name: str, first: int, last: int) -> tuple[Cause, ...]:
    """Why a parameter that is in the optimizer does not move: what its gradient says."""
    gradient = gradient_of(history, name, first, last)
    if np.isnan(gradient):
        return (
            Cause(
                name="parameters-not-used",
                text=f"{name} takes no part in the forward pass, or its result is detached.",
                fix="Look in forward() for a layer that is left out, for .detach(), .data, .item() "
                "or torch.no_grad() on the way to the loss.",
                evidence="It has no gradient at all.",
                score=0.8,
            ),
        )
    if gradient > 1e-12:
        return (learning_rate_too_low(history, f"Its gradient is {number(gradient)}.", 0.6),)
    evidence = f"Its gradient is {number(gradient)}."
    return (*died(history, first, evidence), too_deep(history, evidence, 0.3))


def died(history: History, first: int, evidence: str) -> tuple[Cause, ...]:
    """Dead units: of the beginning when they were so from the first steps, else of large steps."""
    if first <= 5:
        initial = Cause(
            name="poor-initialisation",
            text="The weights or biases began at values from which nothing is active.",
            fix="Initialise by He's rule: nn.init.kaiming_normal_(weight), biases 0.",
            evidence="It was so from the first steps on.",
            score=0.6,
            change={"initialisation": "kaiming"},
        )
        return (initial, dead_units(evidence, 0.5))
    rate = learning_rate_too_high(history, f"It came at step {first}, not at the beginning.", 0.65)
    return (rate, dead_units(evidence, 0.5))


def dead_units(evidence: str, score: float = 0.5) -> Cause:
    """ReLUs that no example activates pass no gradient on."""
    return Cause(
        name="dead-units",
        text="ReLUs that no example activates pass no gradient to the layers before them.",
        fix="Initialise the weights anew, lower the learning rate, and take LeakyReLU or GELU or a "
        "BatchNorm before each ReLU.",
        evidence=evidence,
        score=score,
        change={"activation": "leaky_relu"},
    )


def too_deep(history: History, evidence: str, score: float = 0.5) -> Cause:
    """A gradient that each layer makes smaller."""
    modules = history.structure.modules
    norms = any(name in module.kind for module in modules for name in NORMS)
    squashing = sum(m.activation in ("sigmoid", "tanh") for m in modules)
    why = f" through {squashing} sigmoid or tanh layers" if squashing else ""
    fix = "Take ReLU or GELU for sigmoid and tanh, " if squashing else "Add residual connections, "
    return Cause(
        name="vanishing-gradient-depth",
        text=f"The gradient shrinks from layer to layer{why} until nothing is left of it.",
        fix=fix
        + (
            "and check the initialisation."
            if norms
            else "put BatchNorm between the layers, and initialise by He's rule."
        ),
        evidence=evidence,
        score=score,
        change={"activation": "relu"} if squashing else {"add": "batchnorm"},
    )
