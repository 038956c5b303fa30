"""Sigmoids and tanhs that lie in their flat part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import figure, held, lasting, line_plot, progress
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import learning_rate_too_high
from houndsight.debugger.rules.selection import SELECTION, select
from houndsight.findings import Cause, Finding, Severity

__all__ = ["SaturatedActivation"]

HALF, NEARLY_ALL = 0.5, 0.9
LEAST = 3
KINDS = ("sigmoid", "tanh")
QUANTILES = (
    (Statistic.MINIMUM, 0.0),
    (Statistic.P05, 0.05),
    (Statistic.P25, 0.25),
    (Statistic.MEDIAN, 0.5),
    (Statistic.P75, 0.75),
    (Statistic.P95, 0.95),
    (Statistic.MAXIMUM, 1.0),
)
Floats = npt.NDArray[np.float64]


class SaturatedActivation(Rule):
    """Most units of a sigmoid or tanh lie where its slope is 0, so no gradient passes them.

    Condition: for three recorded blocks of steps in a row over half of a layer's units were in
    the flat part of the function. It is a warning when over 90 % are, or when the loss has not
    surely fallen; else a remark, since gates and attention may well be open or shut. What comes
    after the head is left out: a sigmoid that makes probabilities saturates when it is sure.

    With a threshold set: at any step more than `threshold_layer` percent of what goes into the
    function is outside the documented bounds, by the sampled quantiles of the module before it
    with straight lines between them. That is of elements and not of units, whose inputs are not
    recorded one by one, so `threshold_inactivity` has no effect of its own.

    Source: SageMaker Debugger.
    """

    name = "SaturatedActivation"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **SELECTION,
        "threshold_tanh_min": Parameter(float, -9.4999, "Input under which tanh is flat."),
        "threshold_tanh_max": Parameter(float, 9.4999, "Input above which tanh is flat."),
        "threshold_sigmoid_min": Parameter(float, -23.0, "Input under which sigmoid is flat."),
        "threshold_sigmoid_max": Parameter(float, 16.99999, "Input above which sigmoid is flat."),
        "threshold_inactivity": Parameter(
            float, 1.0, "Percent of inputs within the bounds below which a unit is saturated."
        ),
        "threshold_layer": Parameter(
            float, 50.0, "Percent of a layer's units that may be saturated."
        ),
    }

    def not_applicable(self, history: History) -> str:
        """Only where there are sigmoids or tanhs before the head."""
        if _squashing(history):
            return ""
        return "The network has no sigmoid or tanh that is watched before its head."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each layer."""
        chosen = select(history, self.given)
        documented = any(name.startswith("threshold") for name in self.given)
        threshold = self.value("threshold_layer") / 100 if documented else HALF
        now = progress(history)
        poor = now is not None and not now.surely
        findings = []
        for name, (kind, before) in _squashing(history).items():
            if chosen is not None and name not in chosen.get(Group.ACTIVATIONS, ()):
                continue
            steps, share = (
                self._outside(history, kind, before) if documented else _recorded(history, name)
            )
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
                    title=f"{measured:.0%} of {name} ({kind}) is saturated, "
                    f"from step {when.first} on.",
                    measured=figure(measured),
                    threshold=threshold,
                    causes=_causes(history, kind, measured),
                    plot=line_plot(
                        steps, {name: share}, y_label="saturated share", threshold=threshold
                    ),
                    **when.fields,
                )
            )
        return findings

    def _outside(
        self, history: History, kind: str, before: str
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """(n,) steps and share of the inputs of the function that is outside its bounds."""
        every = [history.series(Group.ACTIVATIONS, statistic) for statistic, _ in QUANTILES]
        steps = every[0].steps
        if not all(np.array_equal(one.steps, steps) for one in every):
            return np.empty(0, np.int64), np.empty(0)
        values = np.stack([one.of(before) for one in every], axis=1)
        low, high = self.value(f"threshold_{kind}_min"), self.value(f"threshold_{kind}_max")
        known = np.isfinite(values).all(axis=1)
        at = np.array([share for _, share in QUANTILES])
        share = [
            float(np.interp(low, row, at, left=0.0) + 1 - np.interp(high, row, at, right=1.0))
            for row in np.sort(values[known], axis=1)
        ]
        return steps[known], np.array(share)


def _squashing(history: History) -> dict[str, tuple[str, str]]:
    """{name: (sigmoid or tanh, module before it)} of those that are called before the head."""
    found, before = {}, ""
    for module in history.structure.in_order():
        kind = module.kind.lower().strip("_()")
        if kind in KINDS and before:
            found[module.name] = (kind, before)
        if module.name == history.structure.head:
            break
        before = module.name
    return found


def _recorded(history: History, name: str) -> tuple[npt.NDArray[np.int64], Floats]:
    series = history.series(Group.ACTIVATIONS, Statistic.SATURATED)
    own = series.of(name)
    known = np.isfinite(own)
    return series.steps[known], own[known]


def _causes(history: History, kind: str, share: float) -> tuple[Cause, ...]:
    scale = history.series(Group.INPUTS, Statistic.STD).values[:1]
    large = bool(np.isfinite(scale).any() and np.nanmax(scale) > 5)
    causes = [
        Cause(
            name="saturated-activations",
            text=f"{kind} is flat for large inputs and passes no gradient there.",
            fix=f"Take ReLU or GELU for {kind}, or put BatchNorm before it.",
            evidence=f"{share:.0%} of the layer is in the flat part.",
            score=0.5,
            change={"activation": "relu"},
        ),
        Cause(
            name="poor-initialisation",
            text=f"The weights before {kind} are too large.",
            fix="Initialise by Glorot's rule: nn.init.xavier_uniform_(weight), biases 0.",
            score=0.45,
            change={"initialisation": "xavier"},
        ),
        learning_rate_too_high(history, "", 0.35),
    ]
    if large:
        causes.append(
            Cause(
                name="inputs-not-normalised",
                text="The inputs are so large that the first layers saturate.",
                fix="Subtract the mean and divide by the standard deviation of the training data.",
                evidence=f"The inputs' standard deviation is {float(np.nanmax(scale)):.3g}.",
                score=0.7,
                change={"normalise": True},
            )
        )
    return tuple(sorted(causes, key=lambda cause: -cause.score))
