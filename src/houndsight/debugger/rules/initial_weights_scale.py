"""Weights that begin far smaller than any rule draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot, weight_names
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["InitialWeightsScale"]

SMALLEST = 0.01
FAR = 0.3
MOST = 0.8
WEIGHTS = 2
ZEROS = 3


class InitialWeightsScale(Rule):
    """The weights begin far smaller than any rule of initialisation draws them: each layer passes
    on a fraction of what it gets, and for a long time nothing reaches the end.

    Condition: in the first recorded step, the standard deviation of 80 % of the weights with two
    axes and more (two at least) is below 0.3 of the smallest that is usual, the lesser of 0.01 and
    1/sqrt(3 fan in), which is PyTorch's own. Weights of exactly 0, with which some begin a branch
    on purpose, are left out, unless they are more than half of all (three at least) and most of
    them get no gradient in the first step: that of one is 0 as long as the next is, and not where
    a way leads past it.

    Source: He et al. (2015); Glorot and Bengio (2010); the bound is ours.
    """

    name = "InitialWeightsScale"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the network."""
        lengths = history.series(Group.PARAMETERS, Statistic.NORM)
        lengths = lengths.only(weight_names(history.structure))
        if not len(lengths) or lengths.steps[0] > 0:
            return []
        zeros = [name for name in lengths.names if lengths.of(name)[0] == 0]
        reached = _reached(history, zeros)
        if 2 * len(reached) > len(zeros):
            zeros = []
        if len(zeros) >= ZEROS and 2 * len(zeros) > len(lengths.names):
            return [_all_zero(history, zeros, len(lengths.names))]
        shares, small = [], []
        for name in lengths.names:
            parameter = history.structure.parameter(name)
            length = float(lengths.of(name)[0])
            if parameter is None or not math.isfinite(length) or length <= 0:
                continue
            size, fan = math.prod(parameter.shape), math.prod(parameter.shape[1:])
            usual = min(SMALLEST, 1 / math.sqrt(3 * max(fan, 1)))
            shares.append(length / math.sqrt(size) / usual)
            if shares[-1] < FAR:
                small.append(name)
        if len(shares) < WEIGHTS or len(small) < MOST * len(shares):
            return []
        times = 1 / float(np.median(shares))
        return [
            Finding(
                rule=self.name,
                where=small[0],
                severity=Severity.WARNING,
                title=(
                    f"{len(small)} of {len(shares)} weights begin about {number(times)} times "
                    "smaller than any usual rule draws them."
                ),
                causes=(
                    Cause(
                        name="poor-initialisation",
                        text="The weights are drawn too small, so that layers pass nothing on.",
                        fix="Leave PyTorch's initialisation as it is, or use "
                        "nn.init.kaiming_normal_(weight) and biases of 0.",
                        score=0.94,
                        evidence="Lengths of the weights at the first step.",
                        change={"initialisation": "default"},
                    ),
                ),
                first_step=0,
                last_step=history.last_step,
                count=len(small),
                measured=1 / times,
                threshold=FAR,
                plot=loss_plot(history),
                examples=tuple(small[:8]),
            )
        ]


def _reached(history: History, names: Iterable[str]) -> list[str]:
    """Those to which a gradient other than 0 came in the first step."""
    gradients = history.series(Group.GRADIENTS, Statistic.NORM)
    if not len(gradients) or gradients.steps[0] > 0:
        return []
    return [n for n in names if n in gradients.names and gradients.of(n)[0] > 0]


def _all_zero(history: History, zeros: list[str], weights: int) -> Finding:
    return Finding(
        rule=InitialWeightsScale.name,
        where=zeros[0],
        severity=Severity.ERROR,
        title=f"{len(zeros)} of {weights} weights are exactly 0 at the first step.",
        causes=(
            Cause(
                name="poor-initialisation",
                text="The weights begin at 0, so that all units of a layer stay alike, and layers "
                "before get no gradient.",
                fix="Leave PyTorch's initialisation as it is, or use "
                "nn.init.kaiming_normal_(weight) and biases of 0.",
                score=0.97,
                evidence="Lengths of the weights at the first step.",
                change={"initialisation": "default"},
            ),
        ),
        first_step=0,
        last_step=history.last_step,
        count=len(zeros),
        measured=len(zeros) / weights,
        threshold=0.5,
        plot=loss_plot(history),
        examples=tuple(zeros[:8]),
    )
