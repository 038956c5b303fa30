"""ReLUs that no example activates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np

from houndsight.debugger.conditions import figure, held, lasting, line_plot, number, progress
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import dead_units, learning_rate_too_high
from houndsight.debugger.rules.selection import SELECTION, select
from houndsight.findings import Cause, Finding, Severity

__all__ = ["DeadRelu"]

HALF, NEARLY_ALL = 0.5, 0.95
LEAST = 3
KINDS = ("relu", "relu6")


class DeadRelu(Rule):
    """Most units of a ReLU are never active, whatever the example: they are lost for learning.

    Condition: for three recorded blocks of steps in a row over half of a layer's units were not
    active once. It is a warning when over 95 % are dead, or when the loss has not surely fallen;
    else a remark, since a network that learns well may leave many units unused.

    With `threshold_layer` or `threshold_inactivity` set: at any block the share of dead units
    is above `threshold_layer` percent. What is recorded counts a unit as dead when it is never
    active in a block, which is an inactivity of 0 %, stricter than the documented 1 %; another
    `threshold_inactivity` is read as that.

    Source: SageMaker Debugger; half of the units after TheDeepChecker (TOSEM 2022).
    """

    name = "DeadRelu"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **SELECTION,
        "threshold_inactivity": Parameter(
            float, 1.0, "Percent of examples below which a unit counts as dead."
        ),
        "threshold_layer": Parameter(float, 50.0, "Percent of a layer's units that may be dead."),
    }

    def not_applicable(self, history: History) -> str:
        """Only where there are ReLUs."""
        if any(_is_relu(module.kind) for module in history.structure.modules):
            return ""
        return "The network has no ReLU that is watched."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each layer."""
        series = history.series(Group.ACTIVATIONS, Statistic.INACTIVE)
        chosen = select(history, self.given)
        names = [m.name for m in history.structure.modules if _is_relu(m.kind)]
        if chosen is not None:
            names = [name for name in names if name in chosen.get(Group.ACTIVATIONS, ())]
        documented = bool({"threshold_layer", "threshold_inactivity"} & self.given.keys())
        threshold = self.value("threshold_layer") / 100 if documented else HALF
        now = progress(history)
        poor = now is not None and not now.surely
        findings = []
        for name in names:
            own = series.of(name)
            known = np.isfinite(own)
            steps, share = series.steps[known], own[known]
            mask = share > threshold
            if not documented:
                mask = lasting(mask, LEAST)
            if (when := held(steps, mask)) is None:
                continue
            measured = float(np.median(share[mask]))
            grave = documented or poor or measured > NEARLY_ALL
            findings.append(
                Finding(
                    rule=self.name,
                    where=name,
                    severity=Severity.WARNING if grave else Severity.INFO,
                    title=f"{measured:.0%} of the units of {name} are never active, "
                    f"from step {when.first} on.",
                    measured=figure(measured),
                    threshold=threshold,
                    causes=self._causes(history, measured),
                    plot=line_plot(
                        steps, {name: share}, y_label="share of dead units", threshold=threshold
                    ),
                    **when.fields,
                )
            )
        return findings

    def _causes(self, history: History, share: float) -> tuple[Cause, ...]:
        biases = _biases(history)
        causes = [
            learning_rate_too_high(
                history, f"Large steps have pushed {share:.0%} of the units below 0 for good.", 0.5
            ),
            dead_units(f"{share:.0%} of the units are never active.", 0.4),
        ]
        if biases < -1:
            causes.append(
                Cause(
                    name="poor-initialisation",
                    text="Biases are so negative that no input can lift the unit above 0.",
                    fix="Begin with biases of 0: nn.init.zeros_(layer.bias).",
                    evidence=f"The mean of a bias is {number(biases)} at the first step.",
                    score=0.8,
                    change={"initialisation": "bias=0"},
                )
            )
        return tuple(sorted(causes, key=lambda cause: -cause.score))


def _biases(history: History) -> float:
    """The most negative mean of a bias at the first step; 0 when none is known."""
    means = history.series(Group.PARAMETERS, Statistic.MEAN)
    names = [n for n in means.names if n.endswith("bias")]
    first = means.only(names).values[:1]
    return float(np.nanmin(first)) if np.isfinite(first).any() else 0.0


def _is_relu(kind: str) -> bool:
    return kind.lower().strip("_()") in KINDS
