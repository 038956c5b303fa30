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
        title = (
            f"{len(small)} of {len(shares)} weights begin about {number(times)} times "
            "smaller than any usual rule draws them."
        )
        text = "The weights are drawn too small, so that layers pass nothing on."
        cause = _cause(text, 0.94)
        return [_finding(history, small, Severity.WARNING, title, cause, (1 / times, FAR))]


def _reached(history: History, names: Iterable[str]) -> list[str]:
    """Those to which a gradient other than 0 came in the first step."""
    gradients = history.series(Group.GRADIENTS, Statistic.NORM)
    if not len(gradients) or gradients.steps[0] > 0:
        return []
    return [n for n in names if n in gradients.names and gradients.of(n)[0] > 0]


def _all_zero(history: History, zeros: list[str], weights: int) -> Finding:
    title = f"{len(zeros)} of {weights} weights are exactly 0 at the first step."
    text = (
        "The weights begin at 0, so that all units of a layer stay alike, and layers before get no "
        "gradient."
    )
    measured = (len(zeros) / weights, 0.5)
    return _finding(history, zeros, Severity.ERROR, title, _cause(text, 0.97), measured)


def _cause(text: str, score: float) -> Cause:
    return Cause(
        name="poor-initialisation",
        text=text,
        fix="Leave PyTorch's initialisation as it is, or use nn.init.kaiming_normal_(weight) and "
        "biases of 0.",
        score=score,
        evidence="Lengths of the weights at the first step.",
        change={"initialisation": "default"},
    )


def _finding(
    history: History,
    names: list[str],
    severity: Severity,
    title: str,
    cause: Cause,
    measured: tuple[float, float],
) -> Finding:
    """About those weights, with what was measured and its threshold."""
    return Finding(
        rule=InitialWeightsScale.name,
        where=names[0],
        severity=severity,
        title=title,
        causes=(cause,),
        first_step=0,
        last_step=history.last_step,
        count=len(names),
        measured=measured[0],
        threshold=measured[1],
        plot=loss_plot(history),
        examples=tuple(names[:8]),
    )
