"""Tensors that are nothing but zeros."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import figure, held, lasting, line_plot, weights_in_order
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import died
from houndsight.debugger.rules.selection import SELECTION, select
from houndsight.findings import Cause, Finding, Severity

__all__ = ["AllZero"]

LEAST = 10
NOUNS = {
    Group.PARAMETERS: "weights",
    Group.GRADIENTS: "gradient",
    Group.ACTIVATIONS: "output",
    Group.INPUTS: "input channel",
    Group.SCALARS: "value",
}
Watched = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class AllZero(Rule):
    """A weight, its gradient, an activation or an input channel is nothing but zeros.

    Condition: at ten recorded steps in a row every sampled element is exactly 0, and for weights
    and gradients the exact norm is 0 too. Looked at are learnable weights with two axes or more
    and their gradients, the outputs of all modules, and the channels of the inputs; biases,
    frozen layers and structurally zero gradients are not. A head or branch that begins with
    zeros has left them long before ten steps.

    With `threshold`, `collection_names` or `tensor_regex` set: the share of zeros of one of those
    tensors (all when none is named) is at least `threshold` percent at any recorded step. A
    channel of the inputs counts as 0 throughout or not at all, by its minimum and maximum.

    Source: SageMaker Debugger.
    """

    name = "AllZero"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **SELECTION,
        "threshold": Parameter(float, 100.0, "Percent of zeros from which it speaks."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each tensor."""
        weights = weights_in_order(history)
        own = {
            Group.PARAMETERS: weights,
            Group.GRADIENTS: weights,
            Group.ACTIVATIONS: history.series(Group.ACTIVATIONS, Statistic.ZEROS).names,
            Group.INPUTS: history.series(Group.INPUTS, Statistic.MINIMUM).names,
        }
        if self.given:
            everything = {"collection_names": ("all",)}
            own = select(history, self.given) or select(history, everything) or {}
        threshold = self.value("threshold") / 100
        findings = []
        for group, names in own.items():
            for name in names:
                steps, zeros = _zeros(history, group, name)
                mask = zeros >= threshold
                mask = mask if self.given else lasting(mask, LEAST)
                if when := held(steps, mask):
                    share = float(np.median(zeros[mask]))
                    findings.append(
                        Finding(
                            rule=self.name,
                            where=f"{group.value}/{name}",
                            severity=Severity.WARNING,
                            title=f"The {NOUNS[group]} {name} is {share:.0%} zeros at {when.count} "
                            f"recorded steps, from step {when.first} on.",
                            measured=figure(share),
                            threshold=threshold,
                            causes=_causes(history, group, when.first),
                            plot=line_plot(
                                steps, {name: zeros}, y_label="share of zeros", threshold=threshold
                            ),
                            **when.fields,
                        )
                    )
        return findings


def _zeros(history: History, group: Group, name: str) -> Watched:
    """(n,) steps and shares of zeros of a tensor."""
    if group == Group.INPUTS:
        low = history.series(group, Statistic.MINIMUM)
        high = history.series(group, Statistic.MAXIMUM)
        if not np.array_equal(low.steps, high.steps):
            return np.empty(0, np.int64), np.empty(0)
        return low.steps, ((low.of(name) == 0) & (high.of(name) == 0)).astype(float)
    if group == Group.SCALARS:
        loss = history.scalar(name)
        return loss.steps, (loss.of(name) == 0).astype(float)
    series = history.series(group, Statistic.ZEROS)
    zeros = series.of(name)
    known = np.isfinite(zeros)
    steps, zeros = series.steps[known], zeros[known]
    if group in (Group.PARAMETERS, Group.GRADIENTS):
        norms = history.series(group, Statistic.NORM)
        norm = dict(zip(norms.steps.tolist(), norms.of(name).tolist(), strict=True))
        # 512 sampled elements may be 0 where the tensor is not.
        other = np.array([norm.get(step, 0.0) > 0 for step in steps.tolist()], bool)
        zeros = np.where(other & (zeros == 1), np.nextafter(1.0, 0.0), zeros)
    return steps, zeros


def _causes(history: History, group: Group, first: int) -> tuple[Cause, ...]:
    if group == Group.INPUTS:
        return (
            Cause(
                name="non-finite-input",
                text="The photos are black, or were scaled to nothing on the way.",
                fix="Show a batch before it goes into the network; look for a division of whole "
                "numbers (// for /) and for a missing channel.",
                evidence="Minimum and maximum of the channel are 0.",
                score=0.8,
            ),
        )
    return died(history, first, f"The {NOUNS[group]} is nothing but zeros.")
