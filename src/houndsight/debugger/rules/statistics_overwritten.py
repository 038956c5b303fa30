"""BatchNorm evaluates with figures that training did not leave."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches, joined, passes, tail
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["StatisticsOverwritten"]

EVALUATIONS = 2
GAP = 0.15
SAME = 1e-4


class StatisticsOverwritten(Rule):
    """Between training and evaluation something writes into BatchNorm's running means and
    variances: they are copied from another model, reset, or loaded from an older checkpoint, while
    the weights are the trained ones. Evaluation then normalises by figures of other features.

    Condition, at the last two evaluations: the running figures were written to after the last
    training forward, the weights have the lengths that training left, and evaluation is right 15
    points less often than training of late. Averages of the weights, whose figures are recomputed,
    have other weights; recomputing them for the trained ones makes evaluation no worse.

    Source: ours; PyTorch's documentation of `torch.optim.swa_utils.update_bn` says why figures
    belong to their weights.
    """

    name = "StatisticsOverwritten"

    def not_applicable(self, history: History) -> str:
        """There must be a BatchNorm with running figures."""
        if history.ended and not len(history.flag("statistics_written", Mode.EVAL)):
            return "No evaluation of a network with BatchNorm was recorded."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for evaluation."""
        written = history.flag("statistics_written", Mode.EVAL).last(EVALUATIONS)
        if len(written) < EVALUATIONS or not (written.values[:, 0] > 0).all():
            return []
        seen = [batch for batch in batches(history) if batch.judged]
        asked = [one for one in passes(history) if one.judged]
        if not seen or not asked or not _weights_are_trained(history, int(written.steps[-1])):
            return []
        known, last = joined(tail(seen, 0.2)).accuracy, asked[-1]
        if known - last.accuracy < GAP:
            return []
        accuracy = history.scalar("accuracy")
        return [
            Finding(
                rule=self.name,
                where="evaluation",
                severity=Severity.WARNING,
                title=(
                    "BatchNorm's running means and variances were overwritten before evaluation: "
                    f"{last.accuracy:.0%} are right, and {known:.0%} in training."
                ),
                causes=(
                    Cause(
                        name="batchnorm-statistics-lost",
                        text="The evaluated model has the trained weights and other running "
                        "figures: its buffers were not copied with its parameters, or were reset.",
                        fix="Copy state_dict() as a whole, or recompute the figures by "
                        "torch.optim.swa_utils.update_bn(loader, model).",
                        score=0.96,
                        evidence="They were written to between the last training forward and the "
                        "first of evaluation; the weights were not changed.",
                        change={"evaluation.buffers": "copied"},
                    ),
                ),
                count=int((history.flag("statistics_written", Mode.EVAL).values > 0).sum()),
                first_step=int(written.steps[0]),
                last_step=int(written.steps[-1]),
                measured=known - last.accuracy,
                threshold=GAP,
                plot=line_plot(
                    accuracy.steps, {"training": accuracy.of("accuracy")}, y_label="accuracy"
                ),
            )
        ]


def _weights_are_trained(history: History, step: int) -> bool:
    """Whether evaluation has weights as long as those of the next training step."""
    asked = history.series(Group.PARAMETERS, Statistic.NORM, Mode.EVAL)
    trained = history.series(Group.PARAMETERS, Statistic.NORM)
    asked, after = asked.at(asked.steps == step), trained.at(trained.steps == step)
    if not len(after):
        # The last evaluation has no step after it; one before has to do.
        earlier = history.flag("statistics_written", Mode.EVAL).steps
        earlier = earlier[earlier < step]
        return len(earlier) > 0 and _weights_are_trained(history, int(earlier[-1]))
    if not len(asked) or asked.names != trained.names:
        return False
    lengths = np.maximum(np.abs(after.values[0]), 1e-12)
    return bool((np.abs(asked.values[0] - after.values[0]) <= SAME * lengths).all())
