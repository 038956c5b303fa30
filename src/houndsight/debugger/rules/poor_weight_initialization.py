"""Weights that begin in a way from which nothing good can be learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from houndsight.debugger.conditions import element_rms, figure, number, weights_in_order
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import uniform_loss
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import NORMS, too_deep
from houndsight.findings import Cause, Finding, Severity

__all__ = ["PoorWeightInitialization"]

GAIN_LOW, GAIN_HIGH = 0.03, 8.0
SPREAD = 1e3
LEAST_SAMPLE = 32
FIXES = {"initialisation": "kaiming"}


class PoorWeightInitialization(Rule):
    """The initial weights are all alike, or on a scale at which signals die out or burst.

    Condition, at the first recorded step, and only where that is the training's first: every
    sampled element of a learnable weight other than the head's has the same value (a warning
    where it is not 0, or where its gradient is 0 for all of the first ten steps); or, in a
    network without normalisation layers, the median over the layers of standard deviation times
    the root of the fan in is under 0.03 or over 8 (He's rule gives 1.4, PyTorch's default 0.58);
    or the standard deviation of the layers' outputs differs by more than a factor of 1,000
    between layers. The last two are a remark where the loss has fallen by a tenth within the
    first 30 steps, to no more than 1.2 times what guessing gives, else a warning.

    With a parameter set, over the first `steps` steps: `threshold` bounds the ratio of the
    largest to the smallest variance of the layers' outputs (the documentation says weights in
    one place and activation inputs in another; outputs of layers are what goes into the
    activations); `distribution_range` is the least spread, 95th less 5th percentile, of any
    layer's gradient; `patience` is how many steps the loss may go without a new lowest value.

    Source: SageMaker Debugger; He et al., Delving deep into rectifiers (ICCV 2015), eq. 10.
    """

    name = "PoorWeightInitialization"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "activation_inputs_regex": Parameter(
            str, ".*relu_input", "Accepted; the outputs of layers with weights are looked at."
        ),
        "threshold": Parameter(float, 10.0, "Largest over smallest variance of the layers."),
        "distribution_range": Parameter(float, 0.001, "Least spread of a layer's gradient."),
        "patience": Parameter(int, 5, "Steps without a new lowest loss."),
        "steps": Parameter(int, 10, "How many of the first steps are looked at."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for weights that are alike, and one for each sign of a wrong scale."""
        if {"threshold", "distribution_range", "patience"} & self.given.keys():
            return self._documented(history)
        first = _first_step(history)
        if first is None or first > 0:
            return []
        return [*self._constant(history), *self._scale(history), *self._signals(history)]

    # -- the documented conditions --------------------------------------------------------------

    def _documented(self, history: History) -> list[Finding]:
        found = []
        begin = _first_step(history) or 0
        until = begin + self.value("steps") - 1
        if "threshold" in self.given:
            found.append(self._variances(history, until))
        if "distribution_range" in self.given:
            found.append(self._spread(history, until))
        if "patience" in self.given:
            found.append(self._patience(history, until))
        return [finding for finding in found if finding]

    def _variances(self, history: History, until: int) -> Finding | None:
        series = history.series(Group.ACTIVATIONS, Statistic.STD).only(_layers(history))
        variance = series.between(0, until).values ** 2
        variance = variance[np.isfinite(variance).any(axis=1)] if variance.size else variance
        if not variance.size:
            return None
        ratio = np.nanmax(variance, axis=1) / np.nanmin(variance, axis=1)
        worst = float(ratio.max())
        if not worst > self.value("threshold"):
            return None
        title = f"The variance of the layers' outputs differs by a factor of {number(worst)}."
        return self._finding("variance", title, worst, self.value("threshold"), until)

    def _spread(self, history: History, until: int) -> Finding | None:
        names = weights_in_order(history)
        high = history.series(Group.GRADIENTS, Statistic.P95).only(names).between(0, until)
        low = history.series(Group.GRADIENTS, Statistic.P05).only(names).between(0, until)
        if not high.values.size or high.values.shape != low.values.shape:
            return None
        spread = high.values - low.values
        if not np.isfinite(spread).any():
            return None
        least = float(np.nanmin(spread))
        if not least < self.value("distribution_range"):
            return None
        title = f"A layer's gradient spreads over no more than {number(least)}."
        return self._finding("gradients", title, least, self.value("distribution_range"), until)

    def _patience(self, history: History, until: int) -> Finding | None:
        loss = history.scalar("loss").between(0, until).of("loss")
        waited, lowest, longest = 0, np.inf, 0
        for value in loss:
            waited = 0 if value < lowest else waited + 1
            lowest, longest = min(lowest, value), max(longest, waited)
        if longest < self.value("patience"):
            return None
        title = f"The loss had no new lowest value for {longest} of the first steps."
        return self._finding("loss", title, float(longest), self.value("patience"), until)

    # -- ours -----------------------------------------------------------------------------------

    def _constant(self, history: History) -> list[Finding]:
        low = history.series(Group.PARAMETERS, Statistic.MINIMUM)
        high = history.series(Group.PARAMETERS, Statistic.MAXIMUM)
        gradients = history.series(Group.GRADIENTS, Statistic.NORM)
        found = []
        for name in weights_in_order(history):
            record = history.structure.parameter(name)
            assert record is not None
            if record.module == history.structure.head or np.prod(record.shape) < LEAST_SAMPLE:
                continue
            values = [float(s.of(name)[0]) for s in (low, high) if len(s) and s.steps[0] == 0]
            if len(values) < 2 or values[0] != values[1]:
                continue
            begin = gradients.of(name)[:10]
            if values[0] == 0 and (len(begin) < 10 or not (begin == 0).all()):
                continue
            title = (
                f"All elements of {name} begin as {number(values[0])}, so that its units are "
                "alike and learn the same."
            )
            found.append(self._finding(name, title, values[0], None, 0))
        return found

    def _scale(self, history: History) -> list[Finding]:
        if any(norm in module.kind for module in history.structure.modules for norm in NORMS):
            return []
        names = [n for n in weights_in_order(history) if not _of_head(history, n)]
        rms = element_rms(history, Group.PARAMETERS, names)
        if len(rms.names) < 2 or not len(rms) or rms.steps[0] > 0:
            return []
        records = {p.name: p for p in history.structure.parameters}
        fans = np.array([max(np.prod(records[name].shape[1:]), 1) for name in rms.names])
        gain = float(np.median(rms.values[0] * np.sqrt(fans)))
        if not (0 < gain < GAIN_LOW or gain > GAIN_HIGH):
            return []
        size = "small" if gain < 1 else "large"
        threshold = GAIN_LOW if gain < 1 else GAIN_HIGH
        title = (
            f"The initial weights are too {size}: standard deviation times the root of the fan in "
            f"is {number(gain)}, where 0.6 to 1.4 is usual."
        )
        severity = self._severity(history)
        return [self._finding("weights", title, gain, threshold, 0, severity)]

    def _signals(self, history: History) -> list[Finding]:
        series = history.series(Group.ACTIVATIONS, Statistic.STD).only(_layers(history))
        if len(series.names) < 3 or not len(series) or series.steps[0] > 0:
            return []
        std = series.values[0]
        known = std[np.isfinite(std) & (std > 0)]
        if len(known) < 3 or not known.max() / known.min() > SPREAD:
            return []
        ratio = float(known.max() / known.min())
        grows = int(np.nanargmax(std)) > int(np.nanargmin(np.where(std > 0, std, np.inf)))
        title = (
            f"The signal {'grows' if grows else 'shrinks'} by a factor of {number(ratio)} between "
            "layers at the first step."
        )
        plot = {
            "kind": "bars",
            "names": list(series.names),
            "values": [figure(value) for value in std],
            "y_label": "standard deviation of the output",
            "logarithmic": True,
        }
        severity = self._severity(history)
        cause = too_deep(history, "The signal dies out on its way through the layers.", 0.4)
        return [
            self._finding(
                "signals", title, ratio, SPREAD, 0, severity, plot, () if grows else (cause,)
            )
        ]

    def _severity(self, history: History) -> Severity:
        loss = history.scalar("loss").of("loss")[:30]
        known = loss[np.isfinite(loss)]
        if len(known) < 30:
            return Severity.WARNING
        fell = bool(np.median(known[-10:]) < 0.9 * np.median(known[:5]))
        # A fall from a height that no sound beginning has is no sign of health.
        guessing = uniform_loss(history.structure)
        fell &= guessing is None or bool(np.median(known[-10:]) < 1.2 * guessing)
        return Severity.INFO if fell else Severity.WARNING

    def _finding(
        self,
        where: str,
        title: str,
        measured: float,
        threshold: float | None,
        last_step: int,
        severity: Severity = Severity.WARNING,
        plot: Mapping[str, Any] | None = None,
        more: tuple[Cause, ...] = (),
    ) -> Finding:
        cause = Cause(
            name="poor-initialisation",
            text="The weights were initialised in a way that does not fit the layers.",
            fix="Initialise by He's rule: nn.init.kaiming_normal_(weight, nonlinearity='relu'), "
            "biases 0; only the last layer may begin with zeros.",
            evidence=title,
            score=0.8,
            change=FIXES,
        )
        return Finding(
            rule=self.name,
            where=where,
            severity=severity,
            title=title,
            first_step=0,
            last_step=last_step,
            measured=figure(measured),
            threshold=threshold,
            causes=(cause, *more),
            plot=plot or {"kind": "value", "measured": figure(measured), "threshold": threshold},
        )


def _layers(history: History) -> list[str]:
    """The modules that own a learnable weight with two axes or more, in order."""
    records = {p.name: p.module for p in history.structure.parameters}
    return list(dict.fromkeys(records[name] for name in weights_in_order(history)))


def _of_head(history: History, name: str) -> bool:
    record = history.structure.parameter(name)
    return record is not None and record.module == history.structure.head


def _first_step(history: History) -> int | None:
    steps = history.scalar("loss").steps
    return int(steps[0]) if len(steps) else None
