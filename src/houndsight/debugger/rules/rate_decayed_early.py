"""A schedule that is over long before the training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import known_scalar, uniform_loss
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["RateDecayedEarly"]

STEPS = 40
OVER = 0.01
EARLY = 0.5
LEFT = 0.2
STILL = 0.05


class RateDecayedEarly(Rule):
    """The learning rate has fallen to nearly nothing long before the training ends, and the loss
    stands still where it was then: the schedule is stepped every batch though it is written in
    epochs, or it was made for a shorter training.

    Condition, after 40 steps: the learning rate has been below 1 % of its peak over more than
    half of all steps, up to now; the training loss is still above 0.2 of ln(classes) (of what it
    was at first, for other losses); and while the rate was low it has fallen by less than 5 %
    of that. A schedule that ends with the training is at 1 % of its peak for 6 % of it (cosine) or
    1 % (linear).

    Source: PyTorch's documentation of `lr_scheduler`, whose `step()` is called once an epoch in
    most examples; bounds ours.
    """

    name = "RateDecayedEarly"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        rates, rate = known_scalar(history, "learning_rate")
        losses, loss = known_scalar(history, "loss")
        if min(len(rate), len(loss)) < STEPS or not rate.max() > 0:
            return []
        low = rate < OVER * rate.max()
        peak = int(rate.argmax())
        # Only what comes after the peak: a warm-up is low too.
        since = peak + int(np.argmax(low[peak:])) if low[peak:].any() else len(rate)
        share = (len(rate) - since) / len(rate)
        if share < EARLY or not low[since:].all():
            return []
        after = loss[losses.steps >= rates.steps[since]]
        level = uniform_loss(history.structure) or float(np.median(loss[:5]))
        width = max(len(after) // 5, 5)
        if len(after) < 2 * width:
            return []
        end = float(np.median(after[-width:]))
        fell = float(np.median(after[:width])) - end
        if end < LEFT * level or fell > STILL * level:
            return []
        at = int(rates.steps[since])
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING,
                title=(
                    f"The learning rate fell from {number(float(rate.max()))} to under "
                    f"{number(OVER * float(rate.max()))} by step {at} of {len(rate):,} and stays "
                    f"there; the loss stands at {number(end)}."
                ),
                causes=(
                    Cause(
                        name="learning-rate-too-low",
                        text="The schedule lowers the learning rate far too soon.",
                        fix="Call scheduler.step() once an epoch, or give the schedule the number "
                        "of steps that the training has.",
                        score=0.94,
                        evidence=f"{share:.0%} of the steps ran at under 1 % of the peak.",
                        change={"schedule": "constant"},
                    ),
                ),
                first_step=at,
                last_step=int(rates.steps[-1]),
                count=len(rate) - since,
                measured=share,
                threshold=EARLY,
                plot=line_plot(
                    rates.steps, {"learning rate": rate}, y_label="rate", logarithmic=True
                ),
            )
        ]
