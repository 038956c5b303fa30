"""A training set of a handful of photos."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches, class_count, joined, passes, tail
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["FewExamples"]

A_CLASS, LEAST = 4, 32
ROUNDS = 10
GAP, ERRORS = 0.15, 3.0
STEPS = 30


class FewExamples(Rule):
    """The whole training runs on a handful of photos, which the network knows by heart and from
    which it cannot learn what the classes look like.

    Condition, from 30 steps on: the different photos that came, which come back unchanged, are
    fewer than four a class, or than 32 in all; each came ten times; and evaluation is right 15
    points and three standard errors less often than training of late. Trainings on more photos
    than that may be short of data too, but no rule can say so from the figures.

    Source: Karpathy, A recipe for training neural networks (2019): a limit left from overfitting
    one batch; bounds ours.
    """

    name = "FewExamples"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        trained = [batch for batch in batches(history) if len(batch.fingerprints)]
        asked = [one for one in passes(history) if one.judged]
        if not trained or not asked or trained[-1].step + 1 < STEPS:
            return
        marks = np.concatenate([batch.fingerprints for batch in trained])
        different = len(np.unique(marks))
        limit = max(A_CLASS * class_count(history), LEAST)
        recent = joined(tail(trained, 0.2))
        if different >= limit or len(marks) < ROUNDS * different or not recent.judged:
            return
        last = asked[-1]
        error = np.sqrt(max(last.accuracy * (1 - last.accuracy), 0.01) / len(last.labels))
        gap = recent.accuracy - last.accuracy
        if len(last.labels) < different or gap < max(GAP, ERRORS * error):
            return
        accuracy = history.scalar("accuracy")
        yield Finding(
            rule=self.name,
            where="photos",
            severity=Severity.WARNING,
            title=(
                f"The training has only {plural(different, 'photo')} for "
                f"{class_count(history)} classes, each seen {len(marks) // different} times: "
                f"{recent.accuracy:.0%} of them are right, and {last.accuracy:.0%} of "
                f"{len(last.labels):,} in evaluation."
            ),
            causes=(
                Cause(
                    name="small-data",
                    text="Nearly no photos reach the training.",
                    fix="Take away a limit left from trying the script out (a Subset, a slice, "
                    "a break), or add photos.",
                    score=0.93,
                    evidence=f"{different} different photos in {len(marks):,} examples.",
                    change={"examples": "all"},
                ),
            ),
            first_step=trained[0].step,
            last_step=trained[-1].step,
            count=different,
            measured=float(different),
            threshold=float(limit),
            plot=line_plot(
                accuracy.steps, {"training": accuracy.of("accuracy")}, y_label="accuracy"
            ),
        )
