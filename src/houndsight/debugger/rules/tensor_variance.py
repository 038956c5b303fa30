"""Tensors whose variance collapses or bursts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np

from houndsight.debugger.conditions import (
    blocks,
    figure,
    held,
    line_plot,
    number,
    weights_in_order,
)
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import learning_rate_too_high
from houndsight.debugger.rules.selection import SELECTION, select
from houndsight.findings import Cause, Finding, Severity

__all__ = ["TensorVariance"]

WINDOW = 10
COLLAPSED, BURST = 1e-4, 1e4
SYMMETRIC = 1e-8


class TensorVariance(Rule):
    """The elements of a layer's weights have become alike, or have flown apart.

    Condition: over a block of ten recorded steps the median variance of a learnable weight is
    under 1e-4 or over 10,000 times what it was at the first step, which is a length of 1 % or
    100 times. Weights that began at 0 are only looked at for bursting, against a variance of
    1 / fan in.

    With `min_threshold` or `max_threshold` set: the variance of a chosen tensor (the learnable
    weights when none is chosen) is under or above that at any recorded step.

    Source: SageMaker Debugger, where both thresholds have no default; the ratios are ours.
    """

    name = "TensorVariance"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **SELECTION,
        "max_threshold": Parameter(float, None, "Variance above which it speaks."),
        "min_threshold": Parameter(float, None, "Variance under which it speaks."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each tensor."""
        chosen = select(history, self.given)
        if chosen is None:
            chosen = {Group.PARAMETERS: weights_in_order(history)}
        absolute = bool({"max_threshold", "min_threshold"} & self.given.keys())
        findings = []
        for group, names in chosen.items():
            for name in names:
                found = (
                    self._absolute(history, group, name)
                    if absolute
                    else self._relative(history, group, name)
                )
                findings += [found] if found else []
        return findings

    def _absolute(self, history: History, group: Group, name: str) -> Finding | None:
        series = history.series(group, Statistic.STD)
        variance = series.of(name) ** 2
        bounds = (
            self.given.get("min_threshold", -np.inf),
            self.given.get("max_threshold", np.inf),
        )
        low, high = variance < bounds[0], variance > bounds[1]
        when = held(series.steps, low | high)
        if when is None:
            return None
        measured = float(np.median(variance[low | high]))
        threshold = float(bounds[0] if low.any() else bounds[1])
        side = "under" if low.any() else "above"
        return Finding(
            rule=self.name,
            where=f"{group.value}/{name}",
            severity=Severity.WARNING,
            title=f"The variance of {name} is {number(measured)}, {side} {number(threshold)}, "
            f"at {when.count} recorded steps.",
            measured=figure(measured),
            threshold=threshold,
            causes=_causes(history, bool(low.any())),
            plot=line_plot(
                series.steps,
                {name: variance},
                y_label="variance",
                threshold=threshold,
                logarithmic=True,
            ),
            **when.fields,
        )

    def _relative(self, history: History, group: Group, name: str) -> Finding | None:
        series = history.series(group, Statistic.STD).only([name])
        judged = blocks(series, WINDOW)
        if not len(judged):
            return None
        record = history.structure.parameter(name)
        fan_in = max(float(np.prod(record.shape[1:])), 1.0) if record else 1.0
        first = float(series.values[0, 0]) ** 2
        variance = judged.medians[:, 0] ** 2
        low = (variance < COLLAPSED * first) & (first > SYMMETRIC / fan_in)
        high = variance > BURST * max(first, 1 / fan_in)
        when = held(judged.first, low | high, judged.last)
        if when is None:
            return None
        fallen = bool(low.any())
        measured = float(np.median(variance[low if fallen else high]))
        return Finding(
            rule=self.name,
            where=f"{group.value}/{name}",
            severity=Severity.WARNING,
            title=f"The variance of {name} went from {number(first)} to {number(measured)}: its "
            f"elements have {'become alike' if fallen else 'flown apart'}.",
            measured=figure(measured),
            threshold=COLLAPSED * first if fallen else BURST * max(first, 1 / fan_in),
            causes=_causes(history, fallen),
            plot=line_plot(judged.last, {name: variance}, y_label="variance", logarithmic=True),
            **when.fields,
        )


def _causes(history: History, low: bool) -> tuple[Cause, ...]:
    optimizer = history.structure.optimizer
    decays = [float(g.get("weight_decay") or 0.0) for g in optimizer.groups] if optimizer else []
    decay = max(decays, default=0.0)
    if not low:
        return (learning_rate_too_high(history, "The weights have grown beyond all bounds.", 0.7),)
    return (
        Cause(
            name="weight-decay-wrong",
            text=f"A weight decay of {number(decay)} draws the weights to 0 faster than the loss "
            "keeps them up.",
            fix="Lower the weight decay to between 0.0001 and 0.05.",
            evidence=f"The largest weight decay of the optimizer is {number(decay)}.",
            score=0.8 if decay > 0.05 else 0.4,
            change={"weight_decay": 5e-4},
        ),
        Cause(
            name="poor-initialisation",
            text="The weights were given values that are all alike.",
            fix="Initialise by He's rule: nn.init.kaiming_normal_(weight).",
            score=0.35,
            change={"initialisation": "kaiming"},
        ),
    )
