"""Classes that are taken for another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import figure
from houndsight.debugger.examples import Examples, batches, joined, passes, tail
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["Confusion"]

SHARE, LEAST, ACCURATE = 0.8, 30, 0.6
REMARKED = 0.5
TOLD_APART = 0.7
Matrix = npt.NDArray[np.float64]


class Confusion(Rule):
    """A class is taken for one other class again and again, while the rest is recognised.

    Condition, in the last evaluation, where the whole is at least 60 % right: of a class with 30
    examples or more over 50 % are taken for one same other class, which is a remark, since two
    classes may just look alike. It is a warning when over 80 % are and half of that other class
    are taken for this one in turn, in each of the last two evaluations, though training tells
    the two apart (70 % of both are right of late): that is how two names that are swapped in one
    of the splits look. Without an evaluation it does not speak.

    With `min_diag` or `max_off_diag` set: of the examples of some class (labels in the rows) a
    smaller share than `min_diag` is recognised, or a larger one than `max_off_diag` is taken for
    one other class. The documented formula of the diagonal cannot be meant: it gives 0.1 for ten
    balanced classes without a mistake; its tests need rows or columns that sum to 1, and we take
    rows. `labels`, `predictions` and their collections have groups of their own here.

    Source: SageMaker Debugger.
    """

    name = "Confusion"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "category_no": Parameter(int, None, "Number of classes; by default as many as occur."),
        "labels": Parameter(str, "labels", "Accepted; labels have a group of their own."),
        "predictions": Parameter(
            str, "predictions", "Accepted; predictions have a group of their own."
        ),
        "labels_collection": Parameter(str, "labels", "Accepted, as `labels`."),
        "predictions_collection": Parameter(str, "predictions", "Accepted, as `predictions`."),
        "min_diag": Parameter(float, 0.9, "Least share of a class that is recognised."),
        "max_off_diag": Parameter(
            float, 0.1, "Largest share of a class that is taken for one other."
        ),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for each class."""
        documented = bool({"min_diag", "max_off_diag"} & self.given.keys())
        counts, step = _matrix(history, self.given.get("category_no"))
        if not counts.sum() or step is None:
            return []
        of_class = counts.sum(axis=1)
        shares = counts / np.maximum(of_class, 1)[:, None]
        other = shares.copy()
        np.fill_diagonal(other, -1)
        accuracy = float(np.trace(counts) / counts.sum())
        findings = []
        for index in np.flatnonzero(of_class):
            taken = int(other[index].argmax())
            share = float(other[index, taken])
            if documented:
                right = float(shares[index, index])
                limit = self.value("max_off_diag")
                if share <= limit and right >= self.value("min_diag"):
                    continue
                severity = Severity.WARNING
            else:
                limit = REMARKED
                swapped = share > SHARE and self._swapped(history, int(index), taken)
                if of_class[index] < LEAST or share <= limit:
                    continue
                if accuracy < ACCURATE and not swapped:
                    continue
                severity = Severity.WARNING if swapped else Severity.INFO
            pair = (int(index), taken)
            findings.append(
                self._finding(history, pair, counts, share, limit, accuracy, severity, step)
            )
        return findings

    def _swapped(self, history: History, one: int, other: int) -> bool:
        """Whether the two are taken for each other in evaluation alone, and lastingly."""
        asked = [p for p in passes(history) if p.judged][-2:]
        trained = [batch for batch in batches(history) if batch.judged]
        if len(asked) < 2 or not trained:
            return False
        recent = joined(tail(trained, 0.2))
        told = min(_share(recent, c, c) for c in (one, other))
        there = min(_share(p, one, other) for p in asked)
        back = min(_share(p, other, one) for p in asked)
        return told >= TOLD_APART and there > SHARE and back >= REMARKED

    def _finding(
        self,
        history: History,
        pair: tuple[int, int],
        counts: Matrix,
        share: float,
        limit: float,
        accuracy: float,
        severity: Severity,
        step: int,
    ) -> Finding:
        names = history.structure.facts.get("classes") or ()
        one, other = (str(names[i]) if i < len(names) else str(i) for i in pair)
        back = counts[pair[1], pair[0]] / max(counts[pair[1]].sum(), 1)
        return Finding(
            rule=self.name,
            where=f"class {pair[0]}",
            severity=severity,
            title=f"{share:.0%} of class {one} is taken for class {other}, while {accuracy:.0%} of "
            "all are right.",
            count=int(counts[pair[0], pair[1]]),
            first_step=step,
            last_step=step,
            measured=figure(share),
            threshold=limit,
            causes=(
                Cause(
                    name="class-mapping-differs" if severity != Severity.INFO else "labels-noisy",
                    text=f"Photos of {one} and {other} are labelled alike, or the two names are "
                    "swapped between training and validation.",
                    fix=f"Look at the photos of {one} and {other} in both splits and correct the "
                    "labels, or put the two classes together.",
                    evidence=f"{back:.0%} of class {other} is taken for {one} in turn.",
                    score=0.9 if severity != Severity.INFO else 0.4,
                    change={"labels.mapping": "evaluation"} if severity != Severity.INFO else {},
                ),
                Cause(
                    name="class-imbalance",
                    text=f"Class {one} has too few examples beside {other}.",
                    fix="Draw the rarer class more often, or weigh it in the loss.",
                    score=0.35,
                    change={"balance": "sampling"},
                ),
            ),
            plot={"kind": "matrix", "counts": counts[:30, :30].astype(int).tolist()},
        )


def _share(examples: Examples, label: int, answer: int) -> float:
    """Of the examples with a label, the share answered so; 0 where there are none."""
    answers = examples.predictions[examples.labels == label]
    return float((answers == answer).mean()) if len(answers) else 0.0


def _matrix(history: History, classes: int | None) -> tuple[Matrix, int | None]:
    """(classes, classes) labels by predictions in the last evaluation, and its step."""
    labels = history.batches(Group.LABELS, mode=Mode.EVAL)
    guesses = history.batches(Group.PREDICTIONS, mode=Mode.EVAL)
    if not len(labels):
        return np.zeros((0, 0)), None
    step = int(labels.steps.max())
    predicted = dict(zip(guesses.forwards.tolist(), guesses.values, strict=True))
    truths, found = [], []
    for at, forward, truth in zip(
        labels.steps.tolist(), labels.forwards.tolist(), labels.values, strict=True
    ):
        guess = predicted.get(forward)
        if at == step and guess is not None and len(guess) == len(truth):
            truths.append(truth.astype(np.int64))
            found.append(guess.astype(np.int64))
    if not truths:
        return np.zeros((0, 0)), None
    truth, guess = np.concatenate(truths), np.concatenate(found)
    known = (truth >= 0) & (guess >= 0)
    truth, guess = truth[known], guess[known]
    width = max(classes or 0, int(max(truth.max(initial=-1), guess.max(initial=-1))) + 1)
    counts = np.zeros((width, width))
    np.add.at(counts, (truth, guess), 1)
    return counts, step
