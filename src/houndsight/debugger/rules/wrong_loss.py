"""The loss does not fit the labels or the network's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import LossRecord
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["WrongLoss"]

REGRESSION = {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}
LOG_LOSSES = {"nll_loss", "kl_div"}
STEPS = 5
NEGATIVE_SHARE = 0.5


@dataclass(frozen=True)
class _Fault:
    title: str
    text: str
    fix: str
    severity: Severity = Severity.WARNING
    score: float = 0.9
    change: dict[str, Any] = field(default_factory=dict)
    measured: float | None = None


class WrongLoss(Rule):
    """The loss is one for other labels or other outputs, so that its minimum is not a network
    that classifies: negative log-likelihood on raw logits can fall for ever, a squared error on
    one-hot labels has small gradients where the network is wrong, a single output cannot tell
    classes apart.

    Condition, any of: the loss is `nll_loss` or `kl_div` and what it gets is above 0, or half of
    at least five losses are negative; a squared or absolute error is computed on rows of targets
    that sum to 1, or on class numbers; a binary cross-entropy gets class numbers above 1, or is
    negative; cross-entropy gets a single output. Binary cross-entropy on one-hot rows is a
    remark only, since good recipes use it (Wightman et al., ResNet strikes back, 2021).

    Source: PyTorch's documentation of the losses; 6 of 101 read scripts have the first.
    """

    name = "WrongLoss"

    def not_applicable(self, history: History) -> str:
        """A loss that is not PyTorch's own cannot be judged by its name."""
        return "" if history.structure.loss else "It is not known which loss the training uses."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """The gravest fault of the loss."""
        record = history.structure.loss
        assert record is not None
        for fault in _faults(history, record):
            return [self._finding(history, record, fault)]
        return []

    def _finding(self, history: History, record: LossRecord, fault: _Fault) -> Finding:
        loss = history.scalar("loss")
        return Finding(
            rule=self.name,
            where=record.kind,
            severity=fault.severity,
            title=fault.title,
            causes=(
                Cause(
                    name="wrong-loss",
                    text=fault.text,
                    fix=fault.fix,
                    score=fault.score,
                    evidence=(
                        f"The loss is {record.kind}, its targets are "
                        f"{record.target_kind or 'of unknown kind'}"
                        + (f", with {record.outputs:,} outputs." if record.outputs else ".")
                    ),
                    change=fault.change,
                ),
            ),
            count=max(len(loss), 1),
            first_step=int(loss.steps[0]) if len(loss) else None,
            last_step=int(loss.steps[-1]) if len(loss) else None,
            measured=fault.measured,
            plot=line_plot(loss.steps, {"loss": loss.values[:, 0]}) if len(loss) else {},
        )


def _faults(history: History, record: LossRecord) -> Iterator[_Fault]:
    loss = history.scalar("loss").values
    losses = loss[np.isfinite(loss)]
    lowest = float(losses.min()) if len(losses) else 0.0
    negative = len(losses) >= STEPS and float((losses < 0).mean()) >= NEGATIVE_SHARE
    labels = history.batches(Group.LABELS).together()
    highest = int(labels.max()) if len(labels) else 0
    if record.kind in LOG_LOSSES:
        yield from _logarithms(history, record, negative, lowest)
    if record.kind.startswith("binary_cross_entropy") and (highest > 1 or negative):
        yield _binary(highest, lowest, record.outputs)
    if record.kind in REGRESSION:
        yield from _regression(record)
    if record.kind == "cross_entropy" and record.outputs == 1:
        yield _single()
    if record.kind.startswith("binary_cross_entropy") and _one_hot(history, record):
        yield _one_hot_binary(record)


def _logarithms(
    history: History, record: LossRecord, negative: bool, lowest: float
) -> Iterator[_Fault]:
    high = history.series(Group.LOGITS, Statistic.MAXIMUM).values
    above = len(high) >= STEPS and float((high > 1e-3).mean()) >= NEGATIVE_SHARE
    softmaxed = history.flag("inputs_softmaxed").values
    if not (negative or above):
        return
    probabilities = len(softmaxed) > 0 and float(softmaxed.mean()) > NEGATIVE_SHARE
    given = "probabilities" if probabilities else "raw outputs"
    yield _Fault(
        title=(
            f"{record.kind} gets {given} instead of logarithms of probabilities: "
            f"the lowest loss so far is {number(lowest)}, and it can fall without end."
        ),
        text=f"{record.kind} does not take the logarithm of a softmax itself.",
        fix=(
            "Use CrossEntropyLoss on the raw outputs"
            + (" and remove the softmax." if probabilities else ", or log_softmax before it.")
        ),
        severity=Severity.ERROR,
        score=0.97,
        change={"loss": "cross_entropy"} | ({"remove": "softmax"} if probabilities else {}),
        measured=lowest,
    )


def _binary(highest: int, lowest: float, outputs: int | None) -> _Fault:
    seen = f"class numbers up to {highest}" if highest > 1 else "targets outside of 0 to 1"
    return _Fault(
        title=(
            f"A binary cross-entropy gets {seen}, where it knows only 0 and 1; "
            f"the lowest loss so far is {number(lowest)}."
        ),
        text="A loss for two classes is used for more.",
        fix=(
            f"Use CrossEntropyLoss with {highest + 1} outputs"
            + (f" instead of {outputs}." if outputs and outputs <= highest else ".")
        ),
        severity=Severity.ERROR,
        score=0.95,
        change={"loss": "cross_entropy"},
        measured=lowest,
    )


def _regression(record: LossRecord) -> Iterator[_Fault]:
    if record.target_kind not in {"probabilities", "indices", "numbers"}:
        return
    one_hot = record.target_kind == "probabilities"
    single = not one_hot and (record.outputs or 1) == 1
    what = "rows of class probabilities" if one_hot else "class numbers"
    yield _Fault(
        title=(
            f"{record.kind} is computed on {what} of {record.outputs or 1:,} outputs: an error of "
            "regression on a classification."
        ),
        text=(
            "The gradient of a squared error vanishes where the network is surely wrong."
            if one_hot
            else "Class numbers have no order, so that being off by one is no smaller mistake."
        ),
        fix="Use CrossEntropyLoss on raw outputs, one for each class; it takes class numbers and "
        "rows alike.",
        score=0.93 if single else 0.9,
        change={"loss": "cross_entropy"} | ({"head.out_features": None} if single else {}),
    )


def _single() -> _Fault:
    return _Fault(
        title="Cross-entropy gets a single output: it is 0 whatever the network says.",
        text="A softmax over one output is always 1.",
        fix=(
            "Give the head one output a class (two for two classes), "
            "or use BCEWithLogitsLoss with float labels 0 and 1."
        ),
        severity=Severity.ERROR,
        score=0.97,
    )


def _one_hot(history: History, record: LossRecord) -> bool:
    flag = history.flag("targets_probabilities").values
    seen = len(flag) > 0 and float(flag.mean()) > NEGATIVE_SHARE
    return (record.outputs or 0) > 2 and (record.target_kind == "probabilities" or seen)


def _one_hot_binary(record: LossRecord) -> _Fault:
    return _Fault(
        title=(
            f"A binary cross-entropy of each of {record.outputs:,} outputs is used although "
            "every photo has one class."
        ),
        text="It works, but is slower to learn than a softmax over the classes at first.",
        fix="Use CrossEntropyLoss unless a photo can show several classes.",
        severity=Severity.INFO,
        score=0.4,
        change={"loss": "cross_entropy"},
    )
