"""The loss compares the network with itself."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import batches, class_count
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import known_scalar, loss_plot
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["TargetsPredicted"]

BATCHES, EXAMPLES = 5, 64
EARLY = 20
UNSURE = 0.3


class TargetsPredicted(Rule):
    """What the loss takes for labels are the network's own answers, so that it is told to go on
    as it began, whatever the photos show.

    Condition: of the first 20 training batches, five and 64 examples at least, the first step's
    among them, every single answer is the label, although the network was not sure of it: the mean
    loss of an example in the first three batches is above 0.3 times ln(classes), what label
    smoothing adds left out.

    Source: ours; a network that is right by chance 64 times is not to be expected.
    """

    name = "TargetsPredicted"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        classes = class_count(history)
        early = [batch for batch in batches(history)[:EARLY] if batch.judged]
        count = sum(len(batch.labels) for batch in early)
        if classes < 2 or len(early) < BATCHES or count < EXAMPLES or early[0].step > 0:
            return []
        loss = history.scalar("loss").of("loss")[:3]
        level = float(np.nanmean(loss)) if np.isfinite(loss).any() else 0.0
        unsure = _of_an_example(history, level, classes) > UNSURE * math.log(classes)
        if not unsure or not all(batch.right.all() for batch in early):
            return []
        return [
            Finding(
                rule=self.name,
                where="labels",
                severity=Severity.ERROR,
                title=(
                    f"From the first step on every label is what the network has just answered: "
                    f"{count:,} of {count:,}."
                ),
                causes=(
                    Cause(
                        name="targets-predicted",
                        text="The loss is given the network's predictions for labels.",
                        fix="Give the loss the labels of the batch: criterion(outputs, labels).",
                        score=0.97,
                        evidence="An untrained network was right every time, and not sure of it.",
                        change={"loss.targets": "labels"},
                    ),
                ),
                count=len(early),
                first_step=early[0].step,
                last_step=early[-1].step,
                measured=1.0,
                threshold=1.0,
                plot=loss_plot(history),
            )
        ]


def _of_an_example(history: History, loss: float, classes: int) -> float:
    """The loss beyond what the smoothing of labels adds, and not that of the whole batch."""
    record = history.structure.loss
    settings = record.settings if record is not None else {}
    if settings.get("reduction") == "sum":
        loss /= max(float(known_scalar(history, "batch_size")[1][:1].sum()), 1.0)
    smoothed = float(settings.get("label_smoothing") or 0.0) / classes
    if not smoothed:
        return loss
    own = 1 - smoothed * (classes - 1)
    least = -own * math.log(own) - (classes - 1) * smoothed * math.log(smoothed)
    return loss - least
