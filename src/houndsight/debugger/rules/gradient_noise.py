"""Batches so small that their gradients are noise."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot, progress
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    examples_a_step,
    peak_rate,
    rounded,
    smoothed_loss,
    weight_ratios,
)
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["GradientNoise"]

SMALL_BATCH = 8
USUAL_BATCH = 32
LEAST_STEPS = 100
MOVING = 1e-3


class GradientNoise(Rule):
    """A step sees so few examples that its gradient is mostly chance, and the steps are large.

    Condition: a step of the optimizer sees at most eight examples (micro-batches together), after
    100 steps the loss surely has fallen by less than a twentieth, and updates are large enough
    to learn with (0.001 of the weights' length in the median weight). A small batch alone is
    silent, and slow progress of larger batches belongs to other rules.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018): the rate that a
    batch bears grows with its size until that of the noise; limits ours.
    """

    name = "GradientNoise"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        examples = examples_a_step(history)
        did = progress(history, least=LEAST_STEPS)
        middle = weight_ratios(history)[1]
        if examples > SMALL_BATCH or did is None or not did.little or not len(middle):
            return []
        moved = float(np.median(middle))
        if moved < MOVING:
            return []
        rate = peak_rate(history)
        better = rounded(rate * examples / USUAL_BATCH)
        loss, smooth = smoothed_loss(history)
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING,
                title=(
                    f"Steps of {examples} examples went nowhere: the loss was "
                    f"{number(did.start)} and is {number(did.recent)} after {did.steps:,} steps, "
                    f"though each changes the weights by {number(moved)} of their length."
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
                count=did.steps,
                first_step=int(loss.steps[0]),
                last_step=int(loss.steps[-1]),
                measured=float(examples),
                threshold=float(SMALL_BATCH),
                plot=line_plot(loss.steps, {"loss": smooth}, y_label="loss"),
            )
        ]
