"""Clipping leaves next to nothing of the gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    CLIPPED_WITHIN,
    COMFORTABLE_RATIO,
    adaptive,
    clipped_at,
    known_scalar,
    main_group,
    rounded,
    value_limit,
    weight_ratios,
)
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number, plural

__all__ = ["GradientClippingTooTight"]

JUDGED_STEPS = 10
SMALL_RATIO = 4e-4


class GradientClippingTooTight(Rule):
    """Nearly every gradient is clipped to the same small length, so the network hardly moves.

    Condition: the gradient's length, as the optimizer sees it, is within 0.2 % of its maximum at
    80 % of the steps, ten at least, which only clipping does; and the largest step of the median
    weight is below 4e-4 of its length. Clipping of every step alone is silent: with a suitable
    learning rate it is normalised gradient descent. Adam undoes any constant factor, so for Adam
    and its like it is a remark at most.

    Source: Pascanu et al., On the difficulty of training recurrent networks (ICML 2013: clip
    at the usual length of the gradient or ten times it); conditions ours.
    """

    name = "GradientClippingTooTight"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        norms, values = known_scalar(history, "gradient_norm")
        middle = weight_ratios(history)[1]
        limit = clipped_at(history)
        if not math.isfinite(limit) or len(middle) < JUDGED_STEPS:
            return []
        at_limit = values > limit * (1 - CLIPPED_WITHIN)
        largest = float(np.percentile(middle, 90))
        if largest >= SMALL_RATIO:
            return []
        steps = norms.steps[at_limit]
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.INFO if adaptive(history.structure) else Severity.WARNING,
                title=(
                    f"Gradients were clipped to a length of {number(limit)} at "
                    f"{int(at_limit.sum()):,} of {plural(len(values), 'step')}, and the updates "
                    f"are at most {number(largest)} of the weights' length."
                ),
                causes=_causes(history, limit, largest, float(at_limit.mean())),
                count=int(at_limit.sum()),
                first_step=int(steps[0]),
                last_step=int(steps[-1]),
                measured=largest,
                threshold=SMALL_RATIO,
                plot=line_plot(
                    norms.steps, {"gradient": values}, y_label="length", threshold=limit
                ),
            )
        ]


def _causes(history: History, limit: float, largest: float, share: float) -> tuple[Cause, ...]:
    better = rounded(limit * COMFORTABLE_RATIO / max(largest, 1e-12))
    value = value_limit(history)
    rate = main_group(history.structure)[1].get("lr")
    return (
        Cause(
            name="gradient-clipping-wrong",
            text=f"Clipping at {number(limit)} is far below the gradients' own length."
            if not value
            else f"Every element of the gradients is clipped to {number(value)}.",
            fix=f"Clip at {number(better)} (an estimate from the updates' size; 1 is usual), or "
            "not at all.",
            score=0.5 if adaptive(history.structure) else 0.85,
            evidence=f"The gradient's length is {number(limit)} to three digits at {share:.0%} of "
            "the steps.",
            change={"clip_value": 1.0} if value else {"clip_norm": max(better, 1.0)},
        ),
        Cause(
            name="learning-rate-too-low",
            text="The learning rate does not suit gradients of that length.",
            fix=f"Raise the learning rate from {number(float(rate or 0))}.",
            score=0.4,
            evidence=f"Updates are at most {number(largest)} of the weights' length.",
            change={"learning_rate_factor": rounded(COMFORTABLE_RATIO / largest)}
            if largest > 0
            else {},
        ),
    )
