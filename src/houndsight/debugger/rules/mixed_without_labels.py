"""Mixed photos that keep the label of one of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import (
    Examples,
    batches,
    class_count,
    effective_classes,
    passes,
    tail,
)
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["MixedWithoutLabels"]

STEPS = 60
BATCH = 8
BATCHES = 20
NEW = 0.9
OVER = 4.0
GAP = 0.2
MIXED = 0.5
LOW, HIGH = 0.5, 0.6
ATTACKED = 0.1


class MixedWithoutLabels(Rule):
    """Photos are blended with others (mixup, CutMix) and keep one label: in every other batch the
    label is that of the photo that hardly shows.

    Condition, from 60 steps on: training's labels are class numbers and its photos never come
    back unchanged; over the last half of the batches (20 of at least eight examples with mixed
    classes) the accuracies of batches vary four times as much as chance lets them, some below
    half of evaluation's accuracy and some above 0.6 of it, and their mean is 20 points below
    evaluation's. Not where the loss is asked for both labels of the same outputs, nor where a step
    asks for the same labels twice, as attacks on the photos do.

    Source: Zhang et al., mixup (ICLR 2018): targets are mixed in the same proportion; the
    condition is ours: one proportion is drawn for a whole batch, so batches come out good or bad.
    """

    name = "MixedWithoutLabels"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        classes = class_count(history)
        trained = [b for b in batches(history) if b.judged and len(b.labels) >= BATCH]
        asked = [one for one in passes(history) if one.judged]
        if not trained or trained[-1].step + 1 < STEPS or not asked or classes < 2:
            return
        marks = np.concatenate([batch.fingerprints for batch in trained])
        if not len(marks) or len(np.unique(marks)) < NEW * len(marks):
            return
        recent = [b for b in tail(trained, 0.5) if _is_mixed(b.labels, classes)]
        if len(recent) < BATCHES or _attacked(recent):
            return
        right = np.array([batch.accuracy for batch in recent])
        size = float(np.median([len(batch.labels) for batch in recent]))
        mean = float(right.mean())
        chance = max(mean * (1 - mean), 0.01) / size
        evaluated = float(np.median([one.accuracy for one in asked[-3:]]))
        spread = float(right.var()) / chance
        both = (right < LOW * evaluated).mean() > 0.2 < (right > HIGH * evaluated).mean()
        if spread < OVER or evaluated - mean < GAP or not both:
            return
        accuracy = history.scalar("accuracy")
        yield Finding(
            rule=self.name,
            where="labels",
            severity=Severity.WARNING,
            title=(
                f"Batches come out good or bad: {np.quantile(right, 0.1):.0%} to "
                f"{np.quantile(right, 0.9):.0%} of a batch are right, {spread:.0f} times the "
                f"variance of chance, and {evaluated:.0%} in evaluation."
            ),
            causes=(
                Cause(
                    name="mixup-labels",
                    text="Photos are mixed with others, and their labels are not.",
                    fix="Mix the labels in the same proportion, as torchvision's MixUp and CutMix "
                    "do, or leave the mixing out.",
                    score=0.95,
                    evidence="No photo came back unchanged, and labels are class numbers.",
                    change={"mixup": False},
                ),
            ),
            count=len(recent),
            first_step=recent[0].step,
            last_step=recent[-1].step,
            measured=spread,
            threshold=OVER,
            plot=line_plot(accuracy.steps, {"training accuracy": accuracy.of("accuracy")}),
        )


def _attacked(recent: Sequence[Examples]) -> bool:
    """Whether steps ask for the same labels again: of photos, and of those made to be hard."""
    again = sum(
        one.step == other.step and np.array_equal(one.labels, other.labels)
        for one, other in itertools.pairwise(recent)
    )
    return again > ATTACKED * len(recent)


def _is_mixed(labels: np.ndarray, classes: int) -> bool:
    """Whether a batch shows as many classes as one drawn at random would."""
    return effective_classes(labels, classes) > MIXED * min(classes, len(labels) / 2)
