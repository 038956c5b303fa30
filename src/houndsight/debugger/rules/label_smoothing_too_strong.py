"""Targets that say nearly nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LabelSmoothingTooStrong"]

REMARKED, STRONG = 0.3, 0.5


class LabelSmoothingTooStrong(Rule):
    """Label smoothing leaves so little of the label that hardly anything can be learnt.

    Condition, by the loss's settings: `label_smoothing` is 0.5 or more, which gives all classes
    together as much of the target as the right one; from 0.3 on a remark. With s of it and C
    classes the largest gain over guessing is ln C less the entropy of the smoothed target.

    Source: Szegedy et al., Rethinking the Inception architecture (2016), takes 0.1; Müller et al.
    (2019) examine up to 0.2; bounds ours.
    """

    name = "LabelSmoothingTooStrong"

    def not_applicable(self, history: History) -> str:
        """Only cross-entropy smooths labels."""
        loss = history.structure.loss
        return "" if loss is None or loss.kind == "cross_entropy" else "The loss does not smooth."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the loss."""
        loss = history.structure.loss
        smoothing = float(loss.settings.get("label_smoothing") or 0.0) if loss else 0.0
        if smoothing < REMARKED or loss is None:
            return []
        lets = _consequence(loss.outputs, smoothing)
        return [
            Finding(
                rule=self.name,
                where="label_smoothing",
                severity=Severity.WARNING if smoothing >= STRONG else Severity.INFO,
                title=f"Label smoothing of {number(smoothing)}{lets}.",
                causes=(
                    Cause(
                        name="label-smoothing",
                        text=f"label_smoothing={number(smoothing)} takes most of the label away.",
                        fix="Set label_smoothing=0.1, or leave it out.",
                        score=0.95,
                        evidence="The loss's settings hold it.",
                        change={"label_smoothing": 0.1},
                    ),
                ),
                first_step=0,
                last_step=history.last_step,
                measured=smoothing,
                threshold=STRONG if smoothing >= STRONG else REMARKED,
                plot=loss_plot(history),
            )
        ]


def _consequence(classes: int | None, smoothing: float) -> str:
    if not classes or classes < 2:
        return " leaves little of the label"
    rest, right = smoothing / classes, 1 - smoothing + smoothing / classes
    entropy = -sum(p * math.log(p) for p in (right, *[rest] * (classes - 1)) if p > 0)
    gain = math.log(classes) - entropy
    return (
        f" lets the loss of {classes:,} classes fall by {number(gain)} at most, from "
        f"{number(math.log(classes))}"
    )
