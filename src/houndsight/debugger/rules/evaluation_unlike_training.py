"""Evaluation that is worse than training was at first sight."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import Examples, batches, class_count, passes
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["EvaluationUnlikeTraining"]

A_CLASS = 5
EXAMPLES = 60
REPEATED = 0.9
GAP, ERRORS = 0.1, 4.0


class EvaluationUnlikeTraining(Rule):
    """No evaluation ever reaches what training got right of photos that it had never seen before:
    that cannot be learning by heart. Evaluation's photos, labels or mode are not those of
    training.

    Condition: of training photos seen for the first time, in the later half of the first epoch,
    the network is right 10 points and four standard errors more often than in the best of all
    later evaluations, with the classes that both have weighted alike (five examples of each, 60
    in all). Photos must come back unchanged, so that a first time can be told; augmented trainings
    are not judged.

    Source: ours. A photo of training at first sight is as new as one that is held out, and
    networks get better after their first epoch.
    """

    name = "EvaluationUnlikeTraining"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for evaluation as a whole."""
        classes = class_count(history)
        first = _first_sight(batches(history))
        asked = [one for one in passes(history) if one.judged and first and one.step > first.step]
        if first is None or classes < 2 or not asked:
            return
        found = [(_beside(first, one, classes), one) for one in asked]
        known = [(pair, one) for pair, one in found if pair is not None]
        if not known or len(known) < len(found):
            return
        (gap, error, new, best), one = min(known, key=lambda item: item[0][0])
        if gap < max(GAP, ERRORS * error):
            return
        accuracy = history.scalar("accuracy")
        yield Finding(
            rule=self.name,
            where="evaluation",
            severity=Severity.WARNING,
            title=(
                f"Training got {new:.0%} of the photos right that it saw for the first time, by "
                f"step {first.step}; evaluation never more than {best:.0%} since, of "
                f"{len(one.labels):,}."
            ),
            causes=_causes(),
            count=len(asked),
            first_step=asked[0].step,
            last_step=asked[-1].step,
            measured=gap,
            threshold=GAP,
            plot=line_plot(
                accuracy.steps, {"training": accuracy.of("accuracy")}, y_label="accuracy"
            ),
        )


def _first_sight(trained: list[Examples]) -> Examples | None:
    """The later half of what was seen for the first time; None where that cannot be told."""
    known = [b for b in trained if b.judged and len(b.fingerprints) == len(b.labels)]
    if not known or len(known) < len(trained):
        return None
    marks = np.concatenate([b.fingerprints for b in known])
    first = np.sort(np.unique(marks, return_index=True)[1])
    if len(first) > REPEATED * len(marks):
        return None
    late = first[len(first) // 2 :]
    steps = np.concatenate([np.full(len(b.labels), b.step) for b in known])
    return Examples(
        step=int(steps[late[-1]]),
        forward=0,
        labels=np.concatenate([b.labels for b in known])[late],
        predictions=np.concatenate([b.predictions for b in known])[late],
    )


def _beside(
    first: Examples, asked: Examples, classes: int
) -> tuple[float, float, float, float] | None:
    """By how much evaluation is worse, its standard error, and both accuracies."""
    new, seen = _recall(first, classes)
    right, there = _recall(asked, classes)
    both = (seen >= A_CLASS) & (there >= A_CLASS)
    if both.sum() < 2 or min(seen[both].sum(), there[both].sum()) < EXAMPLES:
        return None
    weight = there[both] / there[both].sum()
    one, other = float(weight @ new[both]), float(weight @ right[both])
    variances = [
        (share[both] * (1 - share[both]) + 0.25 / count[both]) / count[both]
        for share, count in ((new, seen), (right, there))
    ]
    error = math.sqrt(float((weight**2) @ (variances[0] + variances[1])))
    return one - other, error, one, other


def _recall(
    examples: Examples, classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """(classes,) share recognised and how many there are."""
    inside = (examples.labels >= 0) & (examples.labels < classes)
    counts = np.bincount(examples.labels[inside], minlength=classes)
    right = np.bincount(examples.labels[inside & examples.right], minlength=classes)
    return right / np.maximum(counts, 1), counts


def _causes() -> tuple[Cause, ...]:
    evidence = "Photos seen for the first time were no problem in training."
    return (
        Cause(
            name="preprocessing-differs",
            text="Evaluation's photos are prepared or turned in another way than training's.",
            fix="Read and prepare photos for evaluation by the function that training uses, and "
            "leave out only the random augmentation.",
            score=0.85,
            evidence=evidence,
            change={"evaluation.preprocessing": "training.preprocessing"},
        ),
        Cause(
            name="class-mapping-differs",
            text="Evaluation numbers its classes otherwise, or its labels are wrong.",
            fix="Look at twenty photos of evaluation with their labels.",
            score=0.35,
            evidence=evidence,
            change={"evaluation.class_to_idx": "training.class_to_idx"},
        ),
        Cause(
            name="eval-mode-missing",
            text="The network evaluates in another mode, or with other weights.",
            fix="Call model.eval() before evaluation, and check which weights it uses.",
            score=0.2,
            change={"model.eval": True},
        ),
    )
