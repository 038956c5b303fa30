"""The loss is given probabilities, or otherwise activated outputs, where it expects logits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["SoftmaxTwice"]

LOGIT_LOSSES = ("cross_entropy", "binary_cross_entropy_with_logits")
FORWARDS = 5
SHARE = 0.95


@dataclass(frozen=True)
class _Activation:
    name: str
    sign: str
    consequence: str
    score: float


class SoftmaxTwice(Rule):
    """The network ends in a softmax, sigmoid or ReLU although its loss applies a softmax of its
    own: the loss cannot come near 0, gradients are a fraction of what they should be, and
    learning is slow or stops.

    Condition: for 95 % of at least five forwards, the loss is cross-entropy on logits and what
    it is given has rows that are not negative and sum to 1 (softmax); or lies within 0 and 1
    throughout (sigmoid); or has a least value of exactly 0 and a largest above it (ReLU).
    `LogSoftmax` before cross-entropy changes nothing and is not named.

    Source: PyTorch's documentation of `CrossEntropyLoss` ("unnormalized logits"). With a softmax
    before it the loss of C classes stays above ln(1 + (C - 1) / e).
    """

    name = "SoftmaxTwice"

    def not_applicable(self, history: History) -> str:
        """Only losses that expect logits can get the wrong thing."""
        loss = history.structure.loss
        if loss is not None and loss.kind not in LOGIT_LOSSES:
            return f"The loss {loss.kind} does not take logits."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the activation that is one too many."""
        low = history.series(Group.LOGITS, Statistic.MINIMUM)
        high = history.series(Group.LOGITS, Statistic.MAXIMUM)
        flag = history.flag("inputs_softmaxed")
        outputs = history.structure.loss.outputs if history.structure.loss else None
        held = flag.values[:, 0] > 0 if len(flag) else np.empty(0, bool)
        if _holds(held):
            return [self._finding(history, flag, held, _softmax(outputs))]
        if not 0 < len(low) == len(high) or (outputs is not None and outputs < 2):
            return []
        least, most = low.values[:, 0], high.values[:, 0]
        kind = history.structure.loss.kind if history.structure.loss else ""
        for held, activation in (
            (
                (least >= 0) & (most <= 1) & (most > 0),
                _sigmoid(kind, float(np.nan_to_num(most).max())),
            ),
            ((least == 0) & (most > 0), _relu()),
        ):
            if _holds(held):
                return [self._finding(history, low, held, activation)]
        return []

    def _finding(
        self,
        history: History,
        series: Series,
        held: npt.NDArray[np.bool_],
        activation: _Activation,
    ) -> Finding:
        steps = series.steps[held]
        loss = history.scalar("loss")
        return Finding(
            rule=self.name,
            where=history.structure.head,
            severity=Severity.WARNING,
            title=(
                f"The loss gets outputs that went through a {activation.name} where it expects "
                f"logits: {activation.sign} at {int(held.sum()):,} of {len(held):,} forwards"
                f"{activation.consequence}."
            ),
            causes=(
                Cause(
                    name="softmax-before-loss",
                    text=f"The network ends in a {activation.name}, and the loss has its own.",
                    fix=(
                        f"Remove the {activation.name} at the end of the network's forward, and "
                        "apply softmax only where probabilities are shown."
                    ),
                    score=activation.score,
                    evidence=activation.sign[0].upper() + activation.sign[1:] + ".",
                    change={"remove": _module(history) or activation.name},
                ),
            ),
            count=int(held.sum()),
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            measured=float(held.mean()),
            threshold=SHARE,
            plot=line_plot(loss.steps, {"loss": loss.values[:, 0]}) if len(loss) else {},
        )


def _module(history: History) -> str:
    """The kind of what is called last, after the head; empty where the head is last."""
    called = history.structure.in_order()
    last = called[-1] if called else None
    return "" if last is None or last.name == history.structure.head else last.kind


def _holds(held: npt.NDArray[np.bool_]) -> bool:
    return len(held) >= FORWARDS and bool(held.mean() >= SHARE)


def _softmax(outputs: int | None) -> _Activation:
    floor = math.log(1 + (outputs - 1) / math.e) if outputs and outputs > 1 else None
    consequence = (
        f", so that the loss of {outputs:,} classes cannot fall below {number(floor)}"
        if floor
        else ""
    )
    return _Activation("softmax", "every row is positive and sums to 1", consequence, 0.97)


def _sigmoid(kind: str, most: float) -> _Activation:
    sign = f"all values lie between 0 and {number(most)}"
    if kind == "binary_cross_entropy_with_logits":
        return _Activation("sigmoid", sign, ", so that no class can be denied", 0.9)
    return _Activation("sigmoid", sign, ", so that no class can win clearly", 0.9)


def _relu() -> _Activation:
    consequence = ", so that half of the answers carry no gradient"
    return _Activation("ReLU", "the least value is exactly 0", consequence, 0.9)
