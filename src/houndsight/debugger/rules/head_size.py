"""The network has another number of outputs than there are classes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from houndsight.debugger.examples import Integers, class_name, shares
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["HeadSize"]

UNEVEN = 5.0
"""A class is taken to be at most this many times rarer than it would be if all were even."""
CERTAINTY = 13.8
"""-ln of the probability, one in a million, that classes there are were missed by chance."""
KINDS = {"cross_entropy", "nll_loss"}


class HeadSize(Rule):
    """The head has more or fewer outputs than there are classes: one for ImageNet's 1,000 left as
    it was, or labels that start at 1. Outputs without a class draw probability away from the
    others and make the first loss too high; classes without an output cannot be learnt.

    Condition: the number of classes is known and the loss gets another number of outputs; or
    labels are at or beyond the number of outputs; or labels that are well mixed (each class of the
    first quarter comes back in the last) never reach the upper outputs, which even for classes
    five times rarer than the others would be a chance below one in a million; or, as a remark,
    class 0 never comes. Upper classes that evaluation asks for have their outputs rightly.

    Source: 13 of 101 read scripts; the probability is (1 - s)^n for n labels and a share s.
    """

    name = "HeadSize"

    def not_applicable(self, history: History) -> str:
        """Only losses over classes have one output a class."""
        loss = history.structure.loss
        if loss is None or not loss.outputs:
            return "It is not known how many outputs the loss gets."
        return "" if loss.kind in KINDS else f"{loss.kind} need not have one output a class."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the head."""
        outputs = history.structure.loss.outputs if history.structure.loss else None
        if not outputs:
            return
        labels = history.batches(Group.LABELS).together().astype(np.int64)
        labels = labels[labels >= 0]
        classes = history.structure.classes
        if classes and classes != outputs:
            yield self._size(history, labels, outputs, classes, "the data has")
        elif len(labels) and labels.max() >= outputs:
            yield self._size(history, labels, outputs, int(labels.max()) + 1, "the labels reach")
        elif not classes and _never_reached(labels, outputs) and not _asked(history, labels):
            yield self._size(history, labels, outputs, int(labels.max()) + 1, "labels show")
        elif _first_missing(labels, outputs):
            yield self._shifted(history, labels, outputs)

    def _size(
        self, history: History, labels: Integers, outputs: int, classes: int, verb: str
    ) -> Finding:
        return Finding(
            rule=self.name,
            where=history.structure.head,
            severity=Severity.WARNING if outputs > classes else Severity.ERROR,
            title=(
                f"The network has {plural(outputs, 'output')}, but {verb} "
                f"{plural(classes, 'class', 'classes')}"
                + (f" among {len(labels):,} so far." if len(labels) else ".")
            ),
            causes=(
                Cause(
                    name="head-size-wrong",
                    text="The last layer was made for another number of classes.",
                    fix=f"Replace the last layer by one with {classes:,} outputs.",
                    score=0.95,
                    evidence=f"{outputs:,} outputs, {classes:,} classes.",
                    change={"head.out_features": classes},
                ),
            ),
            **_extent(history),
            measured=float(outputs),
            threshold=float(classes),
            plot=_bars(labels, outputs),
        )

    def _shifted(self, history: History, labels: Integers, outputs: int) -> Finding:
        return Finding(
            rule=self.name,
            where=history.structure.head,
            severity=Severity.INFO,
            title=(
                f"None of {len(labels):,} labels is {class_name(history, 0)}; "
                f"the labels run from {int(labels.min())} to {int(labels.max())}."
            ),
            causes=(
                Cause(
                    name="head-size-wrong",
                    text="The labels start at 1 and the head has an output too many.",
                    fix="Subtract 1 from the labels and give the head one output less.",
                    score=0.6,
                    evidence=f"{outputs:,} outputs, lowest label {int(labels.min())}.",
                ),
            ),
            **_extent(history),
            measured=float(labels.min()),
            threshold=0.0,
            plot=_bars(labels, outputs),
        )


def _extent(history: History) -> dict[str, Any]:
    steps = history.batches(Group.LABELS).steps
    if not len(steps):
        return {}
    return {"first_step": int(steps[0]), "last_step": int(steps[-1]), "count": len(steps)}


def _asked(history: History, labels: Integers) -> bool:
    """Whether evaluation has classes above those of training."""
    asked = history.batches(Group.LABELS, mode=Mode.EVAL).together()
    return len(asked) > 0 and int(asked.max()) > int(labels.max())


def _mixed(labels: Integers) -> bool:
    """Whether classes come in no particular order, so that what is missing is not to come."""
    quarter = len(labels) // 4
    if quarter < 2:
        return False
    early, late = np.unique(labels[:quarter]), np.unique(labels[-quarter:])
    return len(early) > 1 and len(np.union1d(early, late)) == len(np.intersect1d(early, late))


def _never_reached(labels: Integers, outputs: int) -> bool:
    if not _mixed(labels) or labels.max() + 1 >= outputs:
        return False
    share = (outputs - 1 - int(labels.max())) / outputs / UNEVEN
    return len(labels) * -math.log1p(-share) > CERTAINTY


def _first_missing(labels: Integers, outputs: int) -> bool:
    if not _mixed(labels) or labels.min() == 0:
        return False
    return len(labels) * -math.log1p(-1 / outputs / UNEVEN) > CERTAINTY


def _bars(labels: Integers, outputs: int) -> dict[str, object]:
    width = min(max(outputs, int(labels.max()) + 1 if len(labels) else 0), 200)
    return {"bars": shares(labels, width).round(5).tolist(), "of": "share of the labels"}
