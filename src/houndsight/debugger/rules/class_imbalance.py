"""Classes with far more examples than others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import class_counts, figure, number
from houndsight.debugger.history import Batches, History
from houndsight.debugger.record import Group, Mode
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["ClassImbalance"]

RATIO, GRAVE = 10.0, 20.0
A_CLASS = 20
RECALLED = 0.5
Counts = npt.NDArray[np.int64]


class ClassImbalance(Rule):
    """Some classes have far more training examples than others, which then suffer for it.

    Condition: once the labels seen are 500 and 20 a class, the commonest class has surely more
    than 10 times the examples of the rarest that occurs: its count is compared with the rarest's
    plus two standard errors. It is a warning from 20 times on when the rare classes (a tenth of
    the commonest or less) are also recognised less than half as often as all examples, in
    evaluation where there is one, else in the last half of the training; otherwise a remark.

    With a parameter set, over the first `samples` labels or more: the ratio of the largest count
    to the smallest of a class that occurs is above `threshold_imbalance` (the documentation has
    it the other way round, which its own test contradicts), or the share of mispredicted
    examples of a class is above `threshold_misprediction`. Predictions are recorded as class
    indices, so `argmax` has no effect; labels and predictions are known by their groups, not by
    `labels_regex` and `predictions_regex`.

    Source: SageMaker Debugger; the recall and the error bar are ours.
    """

    name = "ClassImbalance"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "threshold_imbalance": Parameter(float, 10.0, "Largest count over smallest."),
        "threshold_misprediction": Parameter(float, 0.7, "Share of a class that may be wrong."),
        "samples": Parameter(int, 500, "Labels to wait for."),
        "argmax": Parameter(bool, False, "Accepted; predictions are recorded as class indices."),
        "labels_regex": Parameter(str, ".*labels", "Accepted; labels have a group of their own."),
        "predictions_regex": Parameter(
            str, ".*predictions", "Accepted; predictions have a group of their own."
        ),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """A finding for the counts, and with parameters one for each mispredicted class."""
        labels = history.batches(Group.LABELS)
        whole = labels.together()
        counts = class_counts(whole, history.structure.classes)
        if counts.sum() < max(self.value("samples"), 1):
            return []
        if {"threshold_imbalance", "threshold_misprediction", "samples"} & self.given.keys():
            return self._documented(history, labels, counts)
        return self._ours(history, labels, counts)

    def _documented(self, history: History, labels: Batches, counts: Counts) -> list[Finding]:
        found = []
        ratio = counts.max() / counts[counts > 0].min()
        limit = self.value("threshold_imbalance")
        if "threshold_misprediction" not in self.given or "threshold_imbalance" in self.given:
            severity = Severity.WARNING
            if ratio > limit:
                found.append(self._finding(history, labels, counts, ratio, limit, severity, ""))
        if "threshold_misprediction" in self.given:
            limit = self.value("threshold_misprediction")
            right, seen = recall(history, Mode.TRAIN, 0.0)
            wrong = 1 - right / np.maximum(seen, 1)
            found += [
                self._mispredicted(history, labels, int(index), wrong, limit, counts)
                for index in np.flatnonzero((wrong > limit) & (seen > 0))
            ]
        return found

    def _ours(self, history: History, labels: Batches, counts: Counts) -> list[Finding]:
        occurring = counts[counts > 0]
        if counts.sum() < A_CLASS * len(occurring) or len(occurring) < 2:
            return []
        rarest = float(occurring.min())
        ratio = float(counts.max() / (rarest + 2 * np.sqrt(rarest)))
        if not ratio > RATIO:
            return []
        severity, evidence = self._harm(history, counts)
        measured = float(counts.max() / rarest)
        severity = severity if ratio > GRAVE else Severity.INFO
        return [self._finding(history, labels, counts, measured, RATIO, severity, evidence)]

    def _harm(self, history: History, counts: Counts) -> tuple[Severity, str]:
        mode = Mode.EVAL if len(history.batches(Group.PREDICTIONS, mode=Mode.EVAL)) else Mode.TRAIN
        right, seen = recall(history, mode, 0.5)
        width = max(len(counts), len(seen))
        counts, seen, right = _pad(counts, width), _pad(seen, width), _pad(right, width)
        rare = (counts > 0) & (counts * RATIO <= counts.max())
        if seen[rare].sum() < A_CLASS / 2 or not seen.sum():
            return Severity.INFO, ""
        of_rare = float(right[rare].sum() / seen[rare].sum())
        of_all = float(right.sum() / seen.sum())
        evidence = (
            f"Of the rare classes {of_rare:.0%} are recognised, of all examples {of_all:.0%}."
        )
        return Severity.WARNING if of_rare < RECALLED * of_all else Severity.INFO, evidence

    def _finding(
        self,
        history: History,
        labels: Batches,
        counts: Counts,
        measured: float,
        threshold: float,
        severity: Severity,
        evidence: str,
    ) -> Finding:
        occurring = np.flatnonzero(counts)
        common, rare = int(counts.argmax()), int(occurring[counts[occurring].argmin()])
        return Finding(
            rule=self.name,
            where="labels",
            severity=severity,
            title=f"Class {_name(history, common)} has {number(measured)} times the examples of "
            f"class {_name(history, rare)} ({counts[common]:,} to {counts[rare]:,}).",
            count=len(labels),
            first_step=int(labels.steps[0]),
            last_step=int(labels.steps[-1]),
            measured=figure(measured),
            threshold=threshold,
            causes=_causes(evidence),
            plot=_plot(history, counts),
        )

    def _mispredicted(
        self,
        history: History,
        labels: Batches,
        index: int,
        wrong: npt.NDArray[np.float64],
        threshold: float,
        counts: Counts,
    ) -> Finding:
        title = (
            f"Class {_name(history, index)} is mispredicted in {wrong[index]:.0%} of its examples."
        )
        return Finding(
            rule=self.name,
            where=f"class {index}",
            severity=Severity.WARNING,
            title=title,
            count=len(labels),
            first_step=int(labels.steps[0]),
            last_step=int(labels.steps[-1]),
            measured=figure(float(wrong[index])),
            threshold=threshold,
            causes=_causes(title),
            plot=_plot(history, counts),
        )


def recall(history: History, mode: Mode, begin: float) -> tuple[Counts, Counts]:
    """(classes,) examples recognised and seen, from that share of the batches on."""
    labels, guesses = (history.batches(g, mode=mode) for g in (Group.LABELS, Group.PREDICTIONS))
    predicted = dict(zip(guesses.forwards.tolist(), guesses.values, strict=True))
    classes = history.structure.classes or 0
    right, seen = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for forward, truth in list(zip(labels.forwards.tolist(), labels.values, strict=True))[
        int(begin * len(labels)) :
    ]:
        guess = predicted.get(forward)
        if guess is None or len(guess) != len(truth):
            continue
        of_batch = class_counts(truth, classes)
        hits = class_counts(truth[guess == truth], classes)
        width = max(len(seen), len(of_batch))
        seen = _pad(seen, width) + _pad(of_batch, width)
        right = _pad(right, width) + _pad(hits, width)
    return right, seen


def _pad(counts: Counts, width: int) -> Counts:
    return np.pad(counts, (0, width - len(counts)))


def _name(history: History, index: int) -> str:
    names = history.structure.facts.get("classes") or ()
    return str(names[index]) if index < len(names) else str(index)


def _plot(history: History, counts: Counts) -> dict[str, Any]:
    order = np.argsort(-counts)[:50]
    return {
        "kind": "bars",
        "names": [_name(history, int(index)) for index in order],
        "values": [int(counts[index]) for index in order],
        "y_label": "examples",
        "logarithmic": False,
    }


def _causes(evidence: str) -> tuple[Cause, ...]:
    return (
        Cause(
            name="class-imbalance",
            text="The classes have very different numbers of examples, and the loss counts "
            "every example alike.",
            fix="Draw the rare classes more often (WeightedRandomSampler), weigh them in the loss "
            "(CrossEntropyLoss(weight=...)), or collect more photos of them.",
            evidence=evidence,
            score=0.8,
            change={"balance": "sampling"},
        ),
    )
