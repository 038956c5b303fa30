"""Steps so small that the training gets nowhere."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot, progress, working_steps
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    COMFORTABLE_RATIO,
    adaptive,
    clipped_at,
    main_group,
    peak_rate,
    rounded,
    smoothed_loss,
    value_limit,
    weight_ratios,
)
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LearningRateTooLow"]

LEAST_STEPS = 30
SMALL, TINY = 4e-4, 1e-4
LITTLE, SOME = 0.3, 0.6
LARGE_EPSILON = 1e-4
LEARNT = 0.3
KNEW = 0.8


class LearningRateTooLow(Rule):
    """The learning rate is too low: the weights hardly move, and the loss falls too slowly.

    Condition, after 30 steps without warm-up: at nine of ten steps the update's length is below
    4e-4 of the weights' in the median weight and the loss has fallen by less than 0.3 of what it
    was, or below 1e-4 and 0.6. A network that knew most from the start (a loss below 0.3 of
    ln(classes)) and the end of a falling schedule are left out. A remark where the loss began
    below 0.8 of ln(classes): a network that was trained before may have little left to learn.

    Source: update ratios from CS231n (1e-3) and TheDeepChecker (TOSEM 2022: below 1e-4 is too
    low); the loss's part and the limits are measured on small networks.
    """

    name = "LearningRateTooLow"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        did = progress(history, least=LEAST_STEPS)
        series, middle = weight_ratios(history)
        working = working_steps(history, series.steps)
        middle, steps = middle[working], series.steps[working]
        if did is None or len(middle) < LEAST_STEPS or did.start < LEARNT * did.baseline:
            return []
        usual = float(np.percentile(middle, 90))
        slow = usual < SMALL and did.fallen < LITTLE
        if usual <= 0 or not (slow or (usual < TINY and did.fallen < SOME)):
            return []
        rate = peak_rate(history)
        # Over a whole training steps sink to a third of what they are at first.
        better = rounded(rate * COMFORTABLE_RATIO / 3 / float(np.median(middle)))
        optimizer = history.structure.optimizer
        if optimizer is not None and optimizer.kind == "Adadelta":
            better = 1.0  # It finds its own step; the rate only scales it (Zeiler, 2012).
        loss, smooth = smoothed_loss(history)
        course = "fell only" if did.fallen > 0 else "went"
        return [
            Finding(
                rule=self.name,
                where="",
                severity=(Severity.INFO if did.start < KNEW * did.baseline else Severity.WARNING),
                title=(
                    f"Updates are at most {number(usual)} of the weights' length and the loss "
                    f"{course} from {number(did.start)} to {number(did.recent)} in {did.steps:,} "
                    f"steps: the learning rate of {number(rate)} is about "
                    f"{number(rounded(better / rate))} times too low."
                ),
                causes=_causes(history, rate, better, usual),
                count=len(middle),
                first_step=int(steps[0]),
                last_step=int(steps[-1]),
                measured=usual,
                threshold=SMALL if slow else TINY,
                plot=line_plot(loss.steps, {"loss": smooth}, y_label="loss"),
            )
        ]


def _causes(history: History, rate: float, better: float, usual: float) -> tuple[Cause, ...]:
    low = Cause(
        name="learning-rate-too-low",
        text=f"The learning rate of {number(rate)} is too low for this network and optimizer.",
        fix=f"Try {number(better)} (an estimate: updates would be 0.003 of the weights' length).",
        score=0.75,
        evidence=f"Updates are {number(usual)} of the weights' length; 0.001 to 0.01 is usual.",
        change={"learning_rate": better} if math.isfinite(better) else {},
    )
    epsilon = main_group(history.structure)[1].get("eps")
    limit = clipped_at(history)
    # Adam and its like undo any constant factor of the gradient.
    if math.isfinite(limit) and not adaptive(history.structure):
        return (_clipped(limit, value_limit(history)), low)
    if epsilon is None or float(epsilon) < LARGE_EPSILON:
        return (low,)
    drowned = Cause(
        name="epsilon-wrong",
        text=f"eps={float(epsilon):g} makes the optimizer's steps far smaller than its rate.",
        fix="Set eps=1e-8.",
        score=0.85,
        evidence=f"The optimizer's settings hold eps={float(epsilon):g}.",
        change={"eps": 1e-8},
    )
    return (drowned, low)


def _clipped(limit: float, value: float) -> Cause:
    return Cause(
        name="gradient-clipping-wrong",
        text=f"Gradients are clipped to a length of {number(limit)} at nearly every step.",
        fix="Clip at 1, or not at all.",
        score=0.85,
        evidence=f"The gradient's length is {number(limit)} to three digits at most steps.",
        change={"clip_value": 1.0} if value else {"clip_norm": 1.0},
    )
