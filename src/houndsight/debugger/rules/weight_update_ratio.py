"""Steps that are far too large or too small for the weights they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import (
    Held,
    blocks,
    element_rms,
    figure,
    held,
    lasting,
    line_plot,
    number,
    progress,
    weights_in_order,
    working_steps,
)
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import learning_rate_too_high, no_gradient
from houndsight.findings import Cause, Finding, Severity

__all__ = ["WeightUpdateRatio", "resting"]

WINDOW = 10
LARGE, HUGE, SMALL = 0.2, 1.0, 1e-8


class WeightUpdateRatio(Rule):
    """A layer's weights change by far too much at a step for what they are, or not at all.

    Condition, by the median of each 10 recorded steps at which the learning rate is at least a
    tenth of its largest: the length of the step over the length of the weights is above 1, or it
    is above 0.2 in at least half of the layers while the loss has not surely fallen; or, for two
    such blocks, it is under 1e-8 in a layer that has a gradient while the loss has not surely
    fallen. Weights that begin at 0 change by more than their length at first, so the first block
    of them is left out. Biases, frozen layers and groups of learning rate 0 are not looked at.

    With `large_threshold` or `small_threshold` set: the documented comparison of any learnable
    parameter at any step with that value, in the sense (length of the step) / (length of the
    weights + epsilon), since the norm is not published. `num_steps` adds up the ratios of that
    many steps, which is what the change over them is at most.

    Source: SageMaker Debugger; healthy training lies between 1e-4 and 1e-1 by TheDeepChecker
    (TOSEM 2022).
    """

    name = "WeightUpdateRatio"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "num_steps": Parameter(int, 1, "Over how many steps the change is taken."),
        "large_threshold": Parameter(float, 10.0, "Ratio above which a change is too large."),
        "small_threshold": Parameter(float, 1e-8, "Ratio under which a change is too small."),
        "epsilon": Parameter(float, 1e-9, "Added to the length of the weights."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each layer."""
        if self.given:
            names = [p.name for p in history.structure.learnable()]
            return self._documented(
                history, history.series(Group.UPDATES, Statistic.RATIO).only(names)
            )
        names = [n for n in weights_in_order(history) if not resting(history, n)]
        series = history.series(Group.UPDATES, Statistic.RATIO).only(names)
        series = series.at(working_steps(history, series.steps))
        return [*self._large(history, series), *self._small(history, series)]

    def _documented(self, history: History, series: Series) -> list[Finding]:
        steps, large, small = (
            max(self.value("num_steps"), 1),
            self.value("large_threshold"),
            self.value("small_threshold"),
        )
        if len(series) < steps:
            return []
        lengths = history.series(Group.PARAMETERS, Statistic.NORM)
        findings = []
        for column, name in enumerate(series.names):
            ratio = series.values[:, column]
            of_step = dict(zip(lengths.steps.tolist(), lengths.of(name).tolist(), strict=True))
            length = np.array([of_step.get(step, np.nan) for step in series.steps.tolist()])
            known = np.isfinite(length)
            ratio = np.where(known, ratio * length / (length + self.value("epsilon")), ratio)
            total = np.convolve(ratio, np.ones(steps), "valid")
            at = series.steps[steps - 1 :]
            for mask, threshold, much in (
                (total > large, large, True),
                (total < small, small, False),
            ):
                if when := held(at, mask):
                    measured = float(np.median(total[mask]))
                    findings.append(
                        self._finding(history, name, when, measured, threshold, much, at, total)
                    )
                    break
        return findings

    def _large(self, history: History, series: Series) -> list[Finding]:
        judged = blocks(series, WINDOW)
        if not len(judged):
            return []
        medians = judged.medians.copy()
        medians[0, self._from_zero(history, series.names)] = np.nan
        many = (medians > LARGE).sum(axis=1) >= max(len(series.names) / 2, 1)
        now = progress(history)
        poor = now is not None and not now.surely
        findings = []
        for column, name in enumerate(series.names):
            own = medians[:, column]
            mask = (own > HUGE) | ((own > LARGE) & many & poor)
            if when := held(judged.first, mask, judged.last):
                measured = float(np.median(own[mask]))
                threshold = LARGE if poor else HUGE
                findings.append(
                    self._finding(history, name, when, measured, threshold, True, judged.last, own)
                )
        return findings

    def _from_zero(self, history: History, names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        rms = element_rms(history, Group.PARAMETERS, names)
        first = {n: float(rms.values[0, i]) for i, n in enumerate(rms.names)} if len(rms) else {}
        records = {p.name: p for p in history.structure.parameters}
        fans = {n: max(float(np.prod(records[n].shape[1:])), 1.0) for n in names}
        return np.array([first.get(n, 1.0) < 0.1 * fans[n] ** -0.5 for n in names], bool)

    def _small(self, history: History, series: Series) -> list[Finding]:
        judged = blocks(series, WINDOW)
        now = progress(history)
        if not len(judged) or now is None or now.surely:
            return []
        gradients = history.series(Group.GRADIENTS, Statistic.NORM)
        findings = []
        for column, name in enumerate(series.names):
            own, gradient = judged.medians[:, column], gradients.of(name)
            if not (gradient[np.isfinite(gradient)] > 0).any():
                continue
            mask = lasting(own < SMALL, 2)
            if when := held(judged.first, mask, judged.last):
                measured = float(np.median(own[mask]))
                findings.append(
                    self._finding(history, name, when, measured, SMALL, False, judged.last, own)
                )
        return findings

    def _finding(
        self,
        history: History,
        name: str,
        when: Held,
        measured: float,
        threshold: float,
        much: bool,
        steps: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64],
    ) -> Finding:
        size = "more" if much else "less"
        return Finding(
            rule=self.name,
            where=name,
            severity=Severity.WARNING,
            title=f"A step changes {name} by {number(measured)} of its length, {size} than "
            f"{number(threshold)}; 0.0001 to 0.1 is usual.",
            measured=figure(measured),
            threshold=threshold,
            causes=self._causes(history, name, when, measured, much),
            plot=line_plot(
                steps,
                {name: values},
                y_label="length of the step / length of the weights",
                threshold=threshold,
                logarithmic=True,
            ),
            **when.fields,
        )

    def _causes(
        self, history: History, name: str, when: Held, measured: float, much: bool
    ) -> tuple[Cause, ...]:
        evidence = f"A step is {number(measured)} of the weights' length."
        if much:
            return (
                learning_rate_too_high(history, evidence, 0.7),
                Cause(
                    name="poor-initialisation",
                    text="The weights begin so small that an ordinary step is large for them.",
                    fix="Initialise by He's rule: nn.init.kaiming_normal_(weight), biases 0.",
                    score=0.3,
                    change={"initialisation": "kaiming"},
                ),
            )
        causes = list(no_gradient(history, name, when.first, when.last))
        if measured == 0 and "16" in history.structure.precision:
            causes.append(
                Cause(
                    name="mixed-precision-overflow",
                    text="The step is lost when it is rounded to 16 bits.",
                    fix="Keep the weights in float32 and use torch.autocast for the forward pass.",
                    evidence=f"The training runs in {history.structure.precision}.",
                    score=0.7,
                    change={"precision": "autocast"},
                )
            )
        return tuple(sorted(causes, key=lambda cause: -cause.score))


def resting(history: History, name: str) -> bool:
    """Whether the optimizer's group has a learning rate of 0, which freezes on purpose."""
    record, optimizer = history.structure.parameter(name), history.structure.optimizer
    if record is None or optimizer is None or record.group is None:
        return False
    if record.group >= len(optimizer.groups):
        return False
    group = optimizer.groups[record.group]
    # A scheduler that warms up sets `lr` to 0 at first and keeps what it was as `initial_lr`.
    return not float(group.get("initial_lr") or group.get("lr") or 0.0)
