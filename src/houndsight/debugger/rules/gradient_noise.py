"""Batches so small that their gradients are noise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    examples_a_step,
    known_scalar,
    peak_rate,
    rounded,
    smoothed_loss,
    uniform_loss,
    weight_ratios,
)
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["GradientNoise"]

SMALL_BATCH = 8
USUAL_BATCH = 32
LEAST_STEPS = 200
EXAMPLES_A_CLASS = 50
MOVING = 1e-3
STUCK = 0.85
SURE = -2.0
Floats = npt.NDArray[Any]


class GradientNoise(Rule):
    """A step sees so few examples that its gradient is mostly chance, and the steps are large.

    Condition: a step of the optimizer sees at most eight examples (micro-batches together), after
    200 steps and 50 examples a class the second half's loss is still above 0.85 of ln(classes),
    a line through the last three quarters does not fall by two standard errors, and updates are
    large enough to learn with (0.001 of the weights' length in the median weight). A small
    batch alone is silent, and slow progress of larger batches belongs to other rules.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018): the rate that a
    batch bears grows with its size until that of the noise; limits ours.
    """

    name = "GradientNoise"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        examples = examples_a_step(history)
        loss, values = known_scalar(history, "loss")
        middle = weight_ratios(history)[1]
        classes = (history.structure.loss.outputs if history.structure.loss else None) or 1
        seen = len(values) * examples
        if examples > SMALL_BATCH or len(values) < LEAST_STEPS or not len(middle):
            return []
        start = uniform_loss(history.structure) or float(np.median(values[: LEAST_STEPS // 10]))
        end = float(values[len(values) // 2 :].mean())
        moved = float(np.median(middle))
        enough = seen >= EXAMPLES_A_CLASS * classes and moved >= MOVING
        if not enough or end < STUCK * start or _falls(loss.steps, values):
            return []
        rate = peak_rate(history)
        better = rounded(rate * examples / USUAL_BATCH)
        smooth = smoothed_loss(history)[1]
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING,
                title=(
                    f"Steps of {examples} examples went nowhere: the loss was "
                    f"{number(start)} and is {number(end)} after {len(values):,} steps, though "
                    f"each changes the weights by {number(moved)} of their length."
                ),
                causes=(
                    Cause(
                        name="batch-too-small",
                        text=f"The gradient of {examples} examples is mostly chance.",
                        fix=f"Take batches of {USUAL_BATCH}, or accumulate as many.",
                        score=0.6,
                        evidence=f"A step of the optimizer sees {examples} examples.",
                        change={"batch_size": USUAL_BATCH},
                    ),
                    Cause(
                        name="learning-rate-too-high",
                        text="The learning rate is too high for batches this small.",
                        fix=f"Lower it from {number(rate)} to {number(better)}.",
                        score=0.55,
                        evidence=f"Updates are {number(moved)} of the weights' length.",
                        change={"learning_rate": better},
                    ),
                ),
                count=len(values),
                first_step=int(loss.steps[0]),
                last_step=int(loss.steps[-1]),
                measured=float(examples),
                threshold=float(SMALL_BATCH),
                plot=line_plot(loss.steps, {"loss": smooth}, y_label="loss"),
            )
        ]


def _falls(steps: Floats, values: Floats) -> bool:
    """Whether a straight line through the last three quarters surely falls."""
    begin = len(values) // 4
    x = steps[begin:] - steps[begin:].mean()
    y = values[begin:] - values[begin:].mean()
    spread = float((x**2).sum())
    if spread == 0:
        return False
    slope = float((x * y).sum()) / spread
    error = math.sqrt(float(((y - slope * x) ** 2).sum()) / max(len(y) - 2, 1) / spread)
    return slope < SURE * error
