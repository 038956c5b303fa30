"""Tensors that are not finite any more, or are on the way there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import (
    blocks,
    element_rms,
    held,
    line_plot,
    number,
    weights_in_order,
)
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import learning_rate_too_high
from houndsight.debugger.rules.selection import SELECTION, select
from houndsight.findings import Cause, Finding, Severity

__all__ = ["ExplodingTensor"]

SHOWN = 8
GROWN = 100.0
WINDOW = 10
LOOKED_AT = (
    (Group.INPUTS, (Statistic.MEAN, Statistic.MINIMUM, Statistic.MAXIMUM)),
    (Group.ACTIVATIONS, (Statistic.MEAN, Statistic.MINIMUM, Statistic.MAXIMUM)),
    (Group.SCALARS, (Statistic.VALUE,)),
    (Group.GRADIENTS, (Statistic.NORM,)),
    (Group.PARAMETERS, (Statistic.NORM,)),
)
"""In the order in which a step computes them, so that the first bad one is the origin."""
NOUNS = {
    Group.INPUTS: "input channel",
    Group.ACTIVATIONS: "activation",
    Group.SCALARS: "loss",
    Group.GRADIENTS: "gradient",
    Group.PARAMETERS: "parameter",
}


class ExplodingTensor(Rule):
    """Inputs, activations, the loss, gradients or weights are NaN or infinite, or weights explode.

    Condition: a recorded tensor has a value that is not finite. Of each kind of tensor the one
    that was first is named, in the order of the forward pass, and the others are counted. It is
    an error, except for gradients alone, which are a warning, or a remark where mixed precision
    is scaling its loss, skips such steps and fewer than three came in a row. Besides, a warning:
    the weights of a layer have grown to 100 times their first length, which is measured against
    1 / sqrt(fan in) where they began smaller.

    With `only_nan` true only NaN counts, and growth does not; with `collection_names` or
    `tensor_regex` only those tensors are looked at. Sampled statistics see a few lost elements
    of an activation only with luck; norms of gradients and parameters see every one.

    Source: SageMaker Debugger; the growth is ours.
    """

    name = "ExplodingTensor"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **SELECTION,
        "only_nan": Parameter(bool, False, "Whether only NaN counts, and infinity does not."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each kind of tensor, and one for each layer that grew."""
        chosen = select(history, self.given)
        findings = []
        for group, statistics in LOOKED_AT:
            names = None if chosen is None else chosen.get(group, ())
            finding = self._not_finite(history, group, statistics, names)
            findings += [finding] if finding else []
        return findings if findings or self.given else self._growing(history)

    def _not_finite(
        self,
        history: History,
        group: Group,
        statistics: tuple[Statistic, ...],
        names: tuple[str, ...] | None,
    ) -> Finding | None:
        series = [_series(history, group, statistic) for statistic in statistics]
        bad: dict[str, list[int]] = {}
        for one in series if names is None else [s.only(names) for s in series]:
            for row, column in zip(*np.nonzero(self._bad(one)), strict=True):
                bad.setdefault(one.names[column], []).append(int(one.steps[row]))
        if not bad:
            return None
        order = {name: place for place, name in enumerate(self._order(history, group))}
        by_first = sorted(bad, key=lambda n: (min(bad[n]), order.get(n, len(order)), n))
        steps = sorted({step for of_name in bad.values() for step in of_name})
        newest = max(int(one.steps[-1]) for one in series if len(one))
        mask = np.isin(np.arange(steps[0], newest + 1), steps)
        when = held(np.arange(steps[0], newest + 1), mask)
        assert when is not None
        origin, others = by_first[0], len(by_first) - 1
        noun = NOUNS[group]
        what = "The loss" if group == Group.SCALARS else f"The {noun} {origin}"
        also = f", and {others} other {noun}s with it" if others else ""
        return Finding(
            rule=self.name,
            where=f"{group.value}/{origin}",
            severity=self._severity(history, group, mask),
            title=f"{what} is not finite from step {when.first} on{also}, "
            f"at {when.count} recorded steps.",
            measured=float(when.count),
            threshold=0.0,
            examples=tuple(by_first[:SHOWN]),
            causes=self._causes(history, group),
            plot=_plot(history),
            **when.fields,
        )

    def _bad(self, series: Series) -> npt.NDArray[np.bool_]:
        wrong = np.isnan(series.values) if self.value("only_nan") else ~np.isfinite(series.values)
        return np.asarray(wrong & series.present)

    def _order(self, history: History, group: Group) -> list[str]:
        if group == Group.ACTIVATIONS:
            return [module.name for module in history.structure.in_order()]
        names = [p.name for p in history.structure.parameters]
        # Gradients are computed from the loss backwards.
        return names[::-1] if group == Group.GRADIENTS else names

    def _severity(self, history: History, group: Group, mask: npt.NDArray[np.bool_]) -> Severity:
        if group != Group.GRADIENTS:
            return Severity.ERROR
        in_a_row = "111" in "".join("1" if bad else "0" for bad in mask)
        scaled = len(history.scalar("loss_scale")) > 0
        return Severity.INFO if scaled and not in_a_row else Severity.WARNING

    def _causes(self, history: History, group: Group) -> tuple[Cause, ...]:
        causes = [learning_rate_too_high(history, _rise(history), 0.5)]
        if group == Group.INPUTS:
            causes.append(
                Cause(
                    name="non-finite-input",
                    text="What goes into the network is not finite already.",
                    fix="Look for divisions by 0 in the preparation of the photos, such as a "
                    "standard deviation of 0, and drop the photos that give NaN.",
                    evidence="The inputs themselves have NaN or infinite values.",
                    score=0.95,
                    change={"inputs.finite": True},
                )
            )
        if len(history.scalar("loss_scale")) or history.structure.precision == "float16":
            causes.append(
                Cause(
                    name="mixed-precision-overflow",
                    text="A value is beyond what 16 bits hold (65,504).",
                    fix="Use bfloat16, or torch.amp.GradScaler with unscale_ before clipping.",
                    evidence=f"The training runs in {history.structure.precision}.",
                    score=0.6,
                    change={"precision": "bfloat16"},
                )
            )
        causes.append(
            Cause(
                name="exploding-gradient",
                text="The gradient grows from layer to layer or step to step.",
                fix="Clip it: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) before the "
                "step; check the loss for log(0) and division by 0.",
                score=0.4,
                change={"gradient_clipping": 1.0},
            )
        )
        return tuple(sorted(causes, key=lambda cause: -cause.score))

    def _growing(self, history: History) -> list[Finding]:
        rms = element_rms(history, Group.PARAMETERS, weights_in_order(history))
        judged = blocks(rms, WINDOW)
        findings = []
        for column, name in enumerate(rms.names):
            record = history.structure.parameter(name)
            assert record is not None
            fan_in = max(int(np.prod(record.shape[1:])), 1)
            first = float(rms.values[0, column])
            times = judged.medians[:, column] / max(first, fan_in**-0.5)
            when = held(judged.first, times > GROWN, judged.last)
            if when is None:
                continue
            most = float(np.nanmax(times))
            findings.append(
                Finding(
                    rule=self.name,
                    where=name,
                    severity=Severity.WARNING,
                    title=f"The weights {name} have grown to {number(most)} times the size that "
                    "they began with.",
                    measured=most,
                    threshold=GROWN,
                    causes=(learning_rate_too_high(history, _rise(history), 0.7),),
                    plot=line_plot(
                        judged.last,
                        {name: times},
                        y_label="size, as a multiple of the first",
                        threshold=GROWN,
                        logarithmic=True,
                    ),
                    **when.fields,
                )
            )
        return findings


def _series(history: History, group: Group, statistic: Statistic) -> Series:
    if group == Group.SCALARS:
        return history.scalar("loss")
    return history.series(group, statistic)


def _rise(history: History) -> str:
    loss = history.scalar("loss").of("loss")
    known = loss[np.isfinite(loss)]
    if len(known) < 2 or not known.max() > 1.5 * known[0]:
        return ""
    return f"The loss rose from {number(known[0])} to {number(known.max())} before."


def _plot(history: History) -> dict[str, Any]:
    series = history.scalar("loss")
    return line_plot(series.steps, {"loss": series.of("loss")}, y_label="loss", logarithmic=True)
