"""A training that goes on after there is nothing more to learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import (
    Evaluation,
    evaluations,
    figure,
    line_plot,
    number,
    progress,
)
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.overfit import training_at
from houndsight.findings import Cause, Finding, Severity

__all__ = ["Overtraining"]

LEAST, ERRORS, LOST = 6, 3.0, 0.03


class Overtraining(Rule):
    """The training goes on although neither training nor validation improves any more.

    Condition: of six evaluations or more over half come after the lowest validation loss, none
    of them lower, and the training loss between evaluations has not fallen by 1 % of its first
    value in the last third of them. It is a warning when validation accuracy has meanwhile
    fallen by 3 points and three standard errors from its best, at each of the last two
    evaluations, in a training that learnt something (its loss fell by a tenth); else a remark on
    lost time.

    With a parameter set: the training loss has had no new lowest value, by more than `delta`,
    for `patience_train` of its steps, and the validation loss none for `patience_validation`
    evaluations.

    Source: SageMaker Debugger.
    """

    name = "Overtraining"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "patience_train": Parameter(int, 5, "Steps without a better training loss."),
        "patience_validation": Parameter(int, 10, "Evaluations without a better loss."),
        "delta": Parameter(float, 0.01, "What counts as better."),
    }

    def not_applicable(self, history: History) -> str:
        """Once a training has ended without any evaluation."""
        if history.ended and not evaluations(history):
            return "Nothing was evaluated without gradients."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        passes = [e for e in evaluations(history) if np.isfinite(e.loss)]
        found = self._documented(history, passes) if self.given else self._ours(history, passes)
        return [found] if found else []

    def _documented(self, history: History, passes: list[Evaluation]) -> Finding | None:
        delta = self.value("delta")
        waited = _since_best(history.scalar("loss").of("loss"), delta)
        waited_validation = _since_best(np.array([e.loss for e in passes]), delta)
        if (
            waited < self.value("patience_train")
            or waited_validation < self.value("patience_validation")
            or not passes
        ):
            return None
        first = passes[-1 - waited_validation].step
        title = (
            f"The training loss has had no new lowest value for {waited} steps, the validation "
            f"loss none for {waited_validation} evaluations."
        )
        return self._finding(
            passes, first, title, waited_validation, self.value("patience_validation")
        )

    def _ours(self, history: History, passes: list[Evaluation]) -> Finding | None:
        if len(passes) < LEAST:
            return None
        best = min(range(len(passes)), key=lambda i: passes[i].loss)
        after = len(passes) - 1 - best
        train = np.array([training_at(history, passes, i)[0] for i in range(len(passes))])
        third = max(len(passes) // 3, 2)
        known = np.isfinite(train).all()
        if 2 * after < len(passes) or not known:
            return None
        if train[-third] - train[-1] > 0.01 * abs(train[0]):
            return None
        scored = [e for e in passes if np.isfinite(e.accuracy)]
        severity, lost = Severity.INFO, ""
        if scored:
            top, last = max(scored, key=lambda e: e.accuracy), scored[-1]
            error = np.hypot(top.accuracy_error, last.accuracy_error)
            # One bad evaluation at the end is chance.
            late = max(e.accuracy for e in scored[-2:])
            if top.accuracy - late > max(LOST, ERRORS * error):
                did = progress(history)
                # Chance moves the accuracy of a network that has learnt nothing.
                severity = Severity.WARNING if did and did.surely else Severity.INFO
                lost = f", and accuracy fell from {top.accuracy:.1%} to {last.accuracy:.1%}"
        low = passes[best]
        title = (
            f"The validation loss was lowest at step {low.step} ({number(low.loss)}) and has not "
            f"improved in {after} evaluations since{lost}."
        )
        return self._finding(passes, low.step, title, after, len(passes) / 2, severity)

    def _finding(
        self,
        passes: list[Evaluation],
        first: int,
        title: str,
        waited: int,
        threshold: float,
        severity: Severity = Severity.WARNING,
    ) -> Finding:
        return Finding(
            rule=self.name,
            where="",
            severity=severity,
            title=title,
            count=waited,
            first_step=first,
            last_step=passes[-1].step,
            measured=figure(waited),
            threshold=float(threshold),
            causes=(
                Cause(
                    name="training-too-long",
                    text="The training is longer than the data has anything to teach.",
                    fix="Stop when validation has not improved for a few epochs, and keep the best "
                    "weights.",
                    evidence=f"{waited} evaluations brought no better validation loss.",
                    score=0.7,
                    change={"patience": 3},
                ),
            ),
            plot=line_plot(
                np.array([e.step for e in passes]),
                {"validation": np.array([e.loss for e in passes])},
                y_label="loss",
            ),
        )


def _since_best(values: npt.NDArray[np.float64], delta: float) -> int:
    """How many values have passed since one was lower than all before by more than `delta`."""
    best, waited = np.inf, 0
    for value in values:
        improved = value < best - delta
        best, waited = (value, 0) if improved else (best, waited + 1)
    return waited
