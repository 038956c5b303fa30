"""Adam's epsilon drowns the gradients, or is too small for the arithmetic."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    loss_plot,
    main_group,
    weight_names,
    weight_ratios,
)
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["EpsilonOutOfRange"]

JUDGED_STEPS = 10
FIRST_STEPS = 100
DROWNED = 1.0
SMALL_RATIO = 4e-3


class EpsilonOutOfRange(Rule):
    """Adam's epsilon is larger than the gradients it is added to, so Adam no longer adapts.

    Condition: over the first 100 steps epsilon exceeds the root of the median second moment
    (corrected for its start at zero) in the median weight and step. It is a warning where the
    updates are small too (under 0.004 of the weights at every recorded step of these), a remark
    where a large learning rate makes up for it. An epsilon of 0 is a warning: a gradient of 0 then
    gives 0 / 0.

    Source: Kingma and Ba, Adam (ICLR 2015: 1e-8); Choi et al. (2019) for what large values do;
    the comparison with the second moment is ours.
    """

    name = "EpsilonOutOfRange"

    def not_applicable(self, history: History) -> str:
        """The optimizer has to have an epsilon."""
        if main_group(history.structure)[1].get("eps") is None:
            return "No optimizer with an epsilon is known of this training."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        settings = main_group(history.structure)[1]
        epsilon = float(settings["eps"])
        if epsilon <= 0:
            return [self._too_small(history, epsilon)]
        steps, drowning = _drowning(history, epsilon)
        if len(steps) < JUDGED_STEPS or float(np.median(drowning)) <= DROWNED:
            return []
        return [self._too_large(history, epsilon, steps, drowning)]

    def _too_small(self, history: History, epsilon: float) -> Finding:
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING,
            title=(
                f"The optimizer's epsilon is {number(epsilon)}: a gradient of 0 makes 0 / 0, "
                f"which is not a number."
            ),
            causes=(_cause(epsilon, "The optimizer divides by the gradient's size alone."),),
            first_step=0,
            last_step=history.last_step,
            measured=epsilon,
            threshold=0.0,
            plot=loss_plot(history),
        )

    def _too_large(
        self, history: History, epsilon: float, steps: np.ndarray, drowning: np.ndarray
    ) -> Finding:
        series, middle = weight_ratios(history)
        early = middle[series.steps <= steps[-1]]
        largest = float(early.max()) if len(early) else 0.0
        times = float(np.median(drowning))
        slow = largest < SMALL_RATIO
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING if slow else Severity.INFO,
            title=(
                f"The optimizer's epsilon of {number(epsilon)} is {number(times)} times the usual "
                f"gradient, so it steps {number(times + 1)} times less than its learning rate says."
            ),
            causes=(
                _cause(
                    epsilon,
                    f"The root of the second moment is {number(epsilon / times)} in the median "
                    f"weight; the largest update was {number(largest)} of the weights' length.",
                ),
            ),
            count=len(steps),
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            measured=times,
            threshold=DROWNED,
            plot=line_plot(
                steps,
                {"epsilon / gradient": drowning},
                y_label="epsilon over the root of the second moment",
                threshold=DROWNED,
                logarithmic=True,
            ),
        )


def _cause(epsilon: float, evidence: str) -> Cause:
    return Cause(
        name="epsilon-wrong",
        text=f"eps={epsilon:g} does not suit the size of the gradients.",
        fix="Set eps=1e-8 (1e-7 where the weights are 16-bit numbers).",
        score=0.9,
        evidence=evidence,
        change={"eps": 1e-8},
    )


def _drowning(history: History, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps among the first hundred, and at each epsilon over the root of the second moment."""
    moments = history.series(Group.OPTIMIZER, Statistic.SECOND_MOMENT)
    moments = moments.only(weight_names(history.structure))
    if not len(moments) or not moments.names:
        return np.empty(0, np.int64), np.empty(0)
    moments = moments.at(moments.steps < moments.steps[0] + FIRST_STEPS)
    betas = main_group(history.structure)[1].get("betas") or (0.9, 0.999)
    # torch's state is not corrected for its start at 0; step 0's row holds one gradient.
    correction = 1 - float(betas[1]) ** (moments.steps + 1.0)
    with np.errstate(all="ignore"):
        roots = np.sqrt(moments.values / np.maximum(correction, 1e-12)[:, None])
        ratios = np.where(roots > 0, epsilon / roots, np.nan)
        known = np.isfinite(ratios).any(axis=1)
        middle = np.nanmedian(ratios[known], axis=1) if known.any() else np.empty(0)
    return moments.steps[known], middle
