"""Tensors that stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import (
    Held,
    held,
    lasting,
    line_plot,
    number,
    weights_in_order,
    working_steps,
)
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import died, learning_rate_too_low, no_gradient
from houndsight.debugger.rules.selection import SELECTION, select
from houndsight.debugger.rules.weight_update_ratio import resting
from houndsight.findings import Cause, Finding, Severity

__all__ = ["UnchangedTensor"]

LEAST = 20
SETTLED = 1e-3
STATISTICS = (Statistic.NORM, Statistic.MEAN, Statistic.STD, Statistic.MINIMUM, Statistic.MAXIMUM)
Floats = npt.NDArray[np.float64]


class UnchangedTensor(Rule):
    """Weights that the optimizer should change stay exactly the same, or the loss does.

    Condition: at 20 recorded steps in a row, with a learning rate of at least a tenth of its
    largest, the update of a learnable weight is exactly 0 and so is the change of its norm; or
    the loss differs by less than 1e-5 of itself from step to step while it is above 0.001.
    Frozen parameters, those outside the optimizer and groups of learning rate 0 may stay.

    With any parameter set: all statistics of a chosen tensor (the loss when none is chosen) that
    are recorded agree by `numpy.allclose` over the last `num_steps` available steps. Raw values
    are not kept at every step, so that norm, mean, standard deviation, minimum and maximum stand
    for them. A tensor seen less than `num_steps` times never speaks.

    Source: SageMaker Debugger.
    """

    name = "UnchangedTensor"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **SELECTION,
        "num_steps": Parameter(int, 3, "How many recorded steps are compared."),
        "rtol": Parameter(float, 1e-5, "Relative tolerance of numpy.allclose."),
        "atol": Parameter(float, 1e-8, "Absolute tolerance of numpy.allclose."),
        "equal_nan": Parameter(bool, False, "Whether NaN equals NaN."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each tensor."""
        if self.given:
            return self._documented(history)
        return [*self._loss(history), *self._weights(history)]

    def _documented(self, history: History) -> list[Finding]:
        chosen = select(history, self.given) or {Group.SCALARS: ("loss",)}
        count = max(self.value("num_steps"), 2)
        findings = []
        for group, names in chosen.items():
            for name in names:
                series = _recorded(history, group, name)
                if not series:
                    continue
                steps = series[0].steps
                same = np.all([self._close(one.values[:, 0]) for one in series], axis=0)
                # `same` is of neighbours: `count` equal values are `count` - 1 equal pairs.
                if when := held(steps[1:], lasting(same, count - 1)):
                    findings.append(
                        self._finding(history, group, name, when, steps, series[0].values[:, 0])
                    )
        return findings

    def _close(self, values: Floats) -> npt.NDArray[np.bool_]:
        return np.isclose(
            values[1:],
            values[:-1],
            rtol=self.value("rtol"),
            atol=self.value("atol"),
            equal_nan=self.value("equal_nan"),
        )

    def _loss(self, history: History) -> list[Finding]:
        series = history.scalar("loss")
        series = series.at(working_steps(history, series.steps))
        loss = series.of("loss")
        same = np.isclose(loss[1:], loss[:-1], rtol=1e-5, atol=0) & (np.abs(loss[1:]) > SETTLED)
        when = held(series.steps[1:], lasting(same, LEAST - 1))
        if when is None:
            return []
        return [self._finding(history, Group.SCALARS, "loss", when, series.steps, loss)]

    def _weights(self, history: History) -> list[Finding]:
        names = [n for n in weights_in_order(history) if not resting(history, n)]
        norms = history.series(Group.PARAMETERS, Statistic.NORM).only(names)
        norms = norms.at(working_steps(history, norms.steps))
        updates = history.series(Group.UPDATES, Statistic.RATIO)
        place = {int(step): row for row, step in enumerate(updates.steps)}
        rows = np.array([place.get(int(step), -1) for step in norms.steps[1:]], np.int64)
        findings = []
        for column, name in enumerate(norms.names):
            values = norms.values[:, column]
            same = values[1:] == values[:-1]
            if len(updates):
                # An update that is not recorded says nothing against the norm.
                moved = np.where(rows >= 0, np.nan_to_num(updates.of(name))[rows], 0.0)
                same &= moved == 0
            if when := held(norms.steps[1:], lasting(same, LEAST - 1)):
                findings.append(
                    self._finding(history, Group.PARAMETERS, name, when, norms.steps, values)
                )
        return findings

    def _finding(
        self,
        history: History,
        group: Group,
        name: str,
        when: Held,
        steps: npt.NDArray[np.int64],
        values: Floats,
    ) -> Finding:
        at = float(values[np.searchsorted(steps, when.first)])
        what = "The loss" if group == Group.SCALARS else f"The {group.value[:-1]} {name}"
        return Finding(
            rule=self.name,
            where=name if group == Group.SCALARS else f"{group.value}/{name}",
            severity=Severity.WARNING,
            title=f"{what} did not change over {when.count} recorded steps, from step {when.first} "
            f"to {when.last}" + (f", at {number(at)}." if group == Group.SCALARS else "."),
            measured=float(when.count),
            threshold=float(self.value("num_steps") if self.given else LEAST),
            causes=self._causes(history, group, name, when),
            plot=line_plot(steps, {name: values}, y_label="value or norm"),
            **when.fields,
        )

    def _causes(self, history: History, group: Group, name: str, when: Held) -> tuple[Cause, ...]:
        if group in (Group.PARAMETERS, Group.GRADIENTS):
            return no_gradient(history, name, when.first, when.last)
        return (
            *died(history, when.first, "The result is the same whatever goes in."),
            learning_rate_too_low(history, "Nothing moves.", 0.4),
        )


def _recorded(history: History, group: Group, name: str) -> list[Series]:
    """The statistics of a tensor at the steps at which all of them are known."""
    if group == Group.SCALARS:
        series = history.scalar(name)
        return [series] if len(series) else []
    every = [history.series(group, statistic) for statistic in STATISTICS]
    every = [one.only([name]) for one in every if name in one.names]
    if not every:
        return []
    common = set.intersection(*({int(step) for step in one.steps} for one in every))
    return [one.at(np.isin(one.steps, sorted(common))) for one in every]
