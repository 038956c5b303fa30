"""Evaluation has too few photos to tell anything."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import passes
from houndsight.debugger.history import History
from houndsight.debugger.record import Group
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["EvaluationTooSmall"]

POINTS = 0.1
CLASSES_SEEN = 0.8


class EvaluationTooSmall(Rule):
    """The accuracy is measured on so few photos that its differences are mostly chance.

    Condition, always a remark: the 95 % interval of the last evaluation's accuracy reaches ten
    points or more to either side (up to 96 photos at 50 %), or a fifth of the classes have no
    photo in it.

    Source: Wilson's interval (1927); for n photos about 1.96 sqrt(p (1 - p) / n).
    """

    name = "EvaluationTooSmall"

    def not_applicable(self, history: History) -> str:
        """There must be an evaluation."""
        if history.ended and not passes(history):
            return "No evaluation was recorded."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One remark, for the last evaluation."""
        asked = [one for one in passes(history) if one.judged]
        if not asked:
            return
        last = asked[-1]
        known = history.batches(Group.LABELS).together()
        classes = history.structure.classes or len(np.union1d(known, last.labels))
        count = len(last.labels)
        reach = _reach(last.accuracy, count)
        seen = len(np.unique(last.labels))
        if reach < POINTS and seen >= CLASSES_SEEN * classes:
            return
        yield Finding(
            rule=self.name,
            where="evaluation",
            severity=Severity.INFO,
            title=(
                f"Accuracy is measured on {count:,} photos of {seen:,} classes: "
                f"{last.accuracy:.0%} give or take {100 * reach:.0f} points."
            ),
            causes=(
                Cause(
                    name="evaluation-small",
                    text="Too few photos are held out.",
                    fix="Hold out at least 400 photos, or use repeated k-fold cross-validation.",
                    score=0.8,
                    evidence=f"{classes:,} classes in all, {count:,} photos.",
                ),
            ),
            count=len(asked),
            first_step=asked[0].step,
            last_step=last.step,
            measured=reach,
            threshold=POINTS,
            plot={
                "bars": [one.accuracy for one in asked[-200:]],
                "of": "accuracy of the evaluations",
            },
        )


def _reach(share: float, count: int) -> float:
    """Half the width of Wilson's 95 % interval."""
    z = 1.96
    root = math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return z * root / (1 + z * z / count)
