"""Validation that gets worse while training gets better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np

from houndsight.debugger.conditions import Evaluation, evaluations, figure, held, line_plot, number
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.selection import SELECTION
from houndsight.findings import Cause, Finding, Severity

__all__ = ["Overfit", "training_at"]

WORSE, GAP, LOST = 1.25, 0.15, 0.02
ERRORS = 3.0
A_CLASS = 30


class Overfit(Rule):
    """The network learns its training photos by heart: validation worsens as training improves.

    Condition, by evaluations, of which there must be three: the validation loss is 1.25 times
    its lowest or more, and by three standard errors, while the training loss between the two has
    not risen. It is a warning when that held at the last two evaluations and the validation
    accuracy has also fallen by 2 points and three standard errors from its best, in both; or when
    training accuracy is at least 15 points and three standard errors above it, the validation
    loss is three times the training loss, and there were photos enough to learn from (30 a
    class that came): with fewer a gap is all that can be had. Otherwise a remark, since a
    confident network's loss may rise while its accuracy stays.

    With a parameter set: (validation loss - training loss) / training loss, both as means
    between two evaluations, is above `ratio_threshold` at more than `patience` evaluations in a
    row after `start_step`.

    Source: SageMaker Debugger, whose default of 0.1 is met on every healthy run measured.
    """

    name = "Overfit"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "tensor_regex": SELECTION["tensor_regex"],
        "start_step": Parameter(int, 0, "Step from which it looks."),
        "patience": Parameter(int, 1, "Evaluations above the threshold that it lets pass."),
        "ratio_threshold": Parameter(
            float, 0.1, "How far the validation loss may be above the training loss, as a share."
        ),
    }

    def not_applicable(self, history: History) -> str:
        """Once a training has ended without any evaluation."""
        if history.ended and not evaluations(history):
            return "Nothing was evaluated without gradients."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        passes = [e for e in evaluations(history) if np.isfinite(e.loss)]
        documented = {"start_step", "patience", "ratio_threshold"} & self.given.keys()
        found = self._documented(history, passes) if documented else self._ours(history, passes)
        return [found] if found else []

    def _documented(self, history: History, passes: list[Evaluation]) -> Finding | None:
        passes = [e for e in passes if e.step >= self.value("start_step")]
        train = [training_at(history, passes, i)[0] for i in range(len(passes))]
        ratio = np.array(
            [(e.loss - t) / max(abs(t), 1e-12) for e, t in zip(passes, train, strict=True)]
        )
        mask, row = np.zeros(len(passes), bool), 0
        for index, above in enumerate(ratio > self.value("ratio_threshold")):
            row = row + 1 if above else 0
            mask[index] = row > self.value("patience")
        when = held(np.array([e.step for e in passes], np.int64), mask)
        if when is None:
            return None
        measured = float(ratio[mask][-1])
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING,
            title=f"The validation loss is {measured:.0%} above the training loss.",
            measured=figure(measured),
            threshold=self.value("ratio_threshold"),
            causes=_causes(history, ""),
            plot=_plot(history, passes),
            **when.fields,
        )

    def _ours(self, history: History, passes: list[Evaluation]) -> Finding | None:
        if len(passes) < 3:
            return None
        best = min(range(len(passes)), key=lambda i: passes[i].loss)
        mask = np.zeros(len(passes), bool)
        for index in range(best + 1, len(passes)):
            mask[index] = self._worse(history, passes, best, index)
        when = held(np.array([e.step for e in passes], np.int64), mask)
        if when is None or not when.open:
            return None
        low, last = passes[best], passes[-1]
        train_loss, train_accuracy = training_at(history, passes, len(passes) - 1)
        # One bad evaluation, at a high learning rate, is chance.
        grave = mask[-2:].all() and self._grave(history, passes, train_loss, train_accuracy)
        gap = train_accuracy - last.accuracy
        evidence = (
            f"Training accuracy is {train_accuracy:.1%}, validation accuracy {last.accuracy:.1%}."
            if np.isfinite(gap)
            else ""
        )
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING if grave else Severity.INFO,
            title=f"The validation loss has risen from {number(low.loss)} (step {low.step}) to "
            f"{number(last.loss)}, while the training loss is {number(train_loss)}.",
            measured=figure(last.loss / max(low.loss, 1e-12)),
            threshold=WORSE,
            causes=_causes(history, evidence),
            plot=_plot(history, passes),
            **when.fields,
        )

    def _worse(self, history: History, passes: list[Evaluation], best: int, index: int) -> bool:
        low, now = passes[best], passes[index]
        errors = np.nan_to_num([low.error, now.error])
        if now.loss <= WORSE * low.loss or now.loss - low.loss < ERRORS * np.hypot(*errors):
            return False
        before, after = (training_at(history, passes, i)[0] for i in (best, index))
        return bool(after <= 1.05 * before)

    def _grave(
        self,
        history: History,
        passes: list[Evaluation],
        train_loss: float,
        train_accuracy: float,
    ) -> bool:
        last = passes[-1]
        if not np.isfinite(last.accuracy):
            return bool(last.loss > 2 * min(e.loss for e in passes))
        known = [e for e in passes if np.isfinite(e.accuracy)]
        top = max(known, key=lambda e: e.accuracy)
        error = np.hypot(top.accuracy_error, last.accuracy_error)
        late = max(e.accuracy for e in known[-2:])
        fell = top.accuracy - late > max(LOST, ERRORS * error)
        gap = train_accuracy - last.accuracy > max(GAP, ERRORS * last.accuracy_error)
        return bool(fell or (gap and last.loss > 3 * train_loss and _enough(history)))


def _enough(history: History) -> bool:
    """Whether there are photos enough, where that can be told."""
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT).together()
    labels = history.batches(Group.LABELS).together()
    return len(np.unique(marks)) >= A_CLASS * max(len(np.unique(labels)), 1)


def training_at(history: History, passes: list[Evaluation], index: int) -> tuple[float, float]:
    """Mean training loss and accuracy since the evaluation before; NaN when none is recorded."""
    before = passes[index - 1].step if index else -1
    result = []
    for name in ("loss", "accuracy"):
        series = history.scalar(name)
        values = series.of(name)[(series.steps >= before) & (series.steps < passes[index].step)]
        values = values[np.isfinite(values)]
        result.append(float(values.mean()) if len(values) else float("nan"))
    return result[0], result[1]


def _plot(history: History, passes: list[Evaluation]) -> dict[str, object]:
    train = np.array([training_at(history, passes, i)[0] for i in range(len(passes))])
    lines = {"validation": np.array([e.loss for e in passes]), "training": train}
    return line_plot(np.array([e.step for e in passes]), lines, y_label="loss")


def _causes(history: History, evidence: str) -> tuple[Cause, ...]:
    marks = history.structure.facts.get("train_photos") or history.structure.facts.get("photos")
    few = f"There are {marks} training photos. " if isinstance(marks, int) else ""
    return (
        Cause(
            name="overfitting",
            text="The network has learnt its training photos by heart.",
            fix="Stop at the evaluation with the lowest validation loss; add augmentation, weight "
            "decay or label smoothing, or train fewer layers.",
            evidence=evidence,
            score=0.6,
            change={"patience": 3, "label_smoothing": 0.1},
        ),
        Cause(
            name="small-data",
            text="There are too few training photos for the number of weights that are trained.",
            fix="Collect more photos, or train the head alone on a pretrained backbone.",
            evidence=(few + evidence).strip(),
            score=0.5,
            change={"freeze": "backbone"},
        ),
        Cause(
            name="training-too-long",
            text="The training goes on after the network is at its best.",
            fix="Train for fewer epochs.",
            score=0.3,
        ),
    )
