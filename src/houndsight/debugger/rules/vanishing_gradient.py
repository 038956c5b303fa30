"""Layers that get almost no gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np

from houndsight.debugger.conditions import (
    blocks,
    element_rms,
    figure,
    held,
    lasting,
    line_plot,
    number,
    progress,
    weights_in_order,
)
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import dead_units, died, too_deep
from houndsight.findings import Cause, Finding, Severity

__all__ = ["VanishingGradient"]

WINDOW = 20
SMALL, TINY = 1e-4, 1e-6
RECOVERING = 2.0
SIDE = 0.02


class VanishingGradient(Rule):
    """A layer gets almost no gradient compared with the others, so it learns almost nothing.

    Condition: over blocks of 20 recorded steps, the median root mean square of an element of a
    weight's gradient is under 1e-4 of the largest among the learnable weights for two blocks,
    or under 1e-6 of it or exactly 0 for one, and it is not growing back by a factor of two from
    block to block (as it does behind a head that begins with zeros). It is a warning when the
    loss has not surely fallen, or when the gradient is 0 or under 1e-6 and the layer has 2 % or
    more of all weights; else a remark. When the loss
    is at rest near 0 all gradients shrink alike, which no ratio sees. A bias before BatchNorm,
    frozen layers and parameters outside the optimizer are left out by the recorded structure.

    With `threshold` set: some learnable parameter's mean absolute gradient is under it at a
    step, as SageMaker documents, where a structurally zero gradient is left out as well.

    Source: SageMaker Debugger; the ratio follows AutoTrainer (ICSE 2021), which takes 1e-3
    between the first and the last layer together with an absolute bound.
    """

    name = "VanishingGradient"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "threshold": Parameter(float, 1e-7, "Mean absolute gradient under which it has vanished.")
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each layer."""
        return self._documented(history) if self.given else self._relative(history)

    def _documented(self, history: History) -> list[Finding]:
        threshold = self.value("threshold")
        names = [p.name for p in history.structure.learnable()]
        series = history.series(Group.GRADIENTS, Statistic.MEAN_ABSOLUTE).only(names)
        findings = []
        for column, name in enumerate(series.names):
            values = series.values[:, column]
            when = held(series.steps, values < threshold)
            if when is None:
                continue
            smallest = float(np.nanmin(values))
            findings.append(
                Finding(
                    rule=self.name,
                    where=name,
                    severity=Severity.WARNING,
                    title=f"The mean absolute gradient of {name} fell to {number(smallest)}, under "
                    f"{number(threshold)}, at {when.count} recorded steps.",
                    measured=figure(smallest),
                    threshold=threshold,
                    causes=self._causes(history, smallest == 0, when.first),
                    plot=line_plot(
                        series.steps,
                        {name: values},
                        y_label="mean absolute gradient",
                        threshold=threshold,
                        logarithmic=True,
                    ),
                    **when.fields,
                )
            )
        return findings

    def _relative(self, history: History) -> list[Finding]:
        rms = element_rms(history, Group.GRADIENTS, weights_in_order(history))
        judged = blocks(rms, WINDOW)
        if not len(judged) or len(rms.names) < 2:
            return []
        known = np.where(np.isfinite(judged.medians), judged.medians, 0.0)
        largest = known.max(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            ratio = judged.medians / largest
        grown = np.zeros(ratio.shape, bool)
        grown[1:] = ratio[1:] > RECOVERING * ratio[:-1]
        poor = not ((now := progress(history)) and now.surely)
        findings = []
        for column, name in enumerate(rms.names):
            own = ratio[:, column]
            tiny = (own < TINY) & ~grown[:, column]
            small = lasting((own < SMALL) & ~grown[:, column], 2) | tiny
            when = held(judged.first, small, judged.last)
            if when is None:
                continue
            measured = float(np.median(own[small]))
            # A dead gate beside the main path takes nothing from a network that learns.
            grave = poor or (bool(tiny.any()) and _share(history, name) >= SIDE)
            findings.append(
                Finding(
                    rule=self.name,
                    where=name,
                    severity=Severity.WARNING if grave else Severity.INFO,
                    title=self._title(name, measured, WINDOW * when.count),
                    measured=figure(measured),
                    threshold=SMALL,
                    causes=self._causes(history, measured == 0, when.first),
                    plot=line_plot(
                        judged.last,
                        {name: own},
                        y_label="gradient, as a share of the largest layer's",
                        threshold=SMALL,
                        logarithmic=True,
                    ),
                    **{**when.fields, "count": WINDOW * when.count},
                )
            )
        return findings

    def _title(self, name: str, ratio: float, steps: int) -> str:
        if ratio == 0:
            return f"{name} got a gradient of exactly 0 over {steps} steps: it does not learn."
        return (
            f"The gradient of {name} is {number(1 / ratio)} times smaller than that of the layer "
            f"with the largest, over {steps} steps: it hardly learns."
        )

    def _causes(self, history: History, zero: bool, first: int) -> tuple[Cause, ...]:
        dead = history.series(Group.ACTIVATIONS, Statistic.INACTIVE).values
        worst = float(np.nanmax(dead)) if np.isfinite(dead).any() else float("nan")
        relu = bool(worst > 0.5)
        evidence = f"Up to {worst:.0%} of a layer's ReLUs are never active." if relu else ""
        depth = len(weights_in_order(history))
        causes = [
            too_deep(history, f"The network has {depth} layers with weights.", 0.3 if zero else 0.6)
        ]
        if relu and not zero:
            causes.append(dead_units(evidence, 0.7))
        if zero:
            return tuple(
                sorted([*causes, *died(history, first, evidence)], key=lambda cause: -cause.score)
            )
        causes.append(
            Cause(
                name="poor-initialisation",
                text="The initial weights are so small that each layer passes on less than it got.",
                fix="Initialise by He's rule: nn.init.kaiming_normal_(weight), biases 0.",
                score=0.3,
                change={"initialisation": "kaiming"},
            )
        )
        return tuple(sorted(causes, key=lambda cause: -cause.score))


def _share(history: History, name: str) -> float:
    """Of all learnable weights, those that this parameter holds."""
    sizes = {p.name: float(np.prod(p.shape)) for p in history.structure.learnable()}
    return sizes.get(name, 0.0) / max(sum(sizes.values()), 1.0)
