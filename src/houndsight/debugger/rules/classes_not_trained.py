"""Classes that evaluation asks for and training never shows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.examples import (
    Examples,
    Integers,
    class_count,
    class_name,
    joined,
    passes,
    shares,
)
from houndsight.debugger.history import History
from houndsight.debugger.record import Group
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["ClassesNotTrained"]

LABELS = 300
ASKED = 0.01
LEAST_ASKED = 3
CERTAINTY = 13.8
"""-ln of one in a million: the chance that a class as common as in evaluation was missed."""
UNEVEN = 5.0
AS_SURELY, KNOWN, MOST = 0.7, 0.3, 0.75
COMMONER = 1.4
STEEP = 8.0


class ClassesNotTrained(Rule):
    """Some classes that evaluation asks for never came in training: their photos are missing, or
    are labelled as another class, so that they cannot be recognised.

    Condition: among 300 labels of training and more there is none of a class that makes up 1 % of
    the labels in evaluation (three at least), where even a class five times rarer in training
    than in evaluation would be missed with a chance below one in a million. What the other classes
    do tells the cause: where photos of the missing classes are answered as one other class each,
    0.7 times as surely as that class's own are, and it is 1.4 times as common in training as
    classes of which that is not so, they carry its label; where one class is all of training,
    labels are read wrongly; where the classes that did come differ eightfold in number, training
    is out of balance; else they are not in the training photos.

    Source: ours; the probability is (1 - s)^n for n labels and a share s.
    """

    name = "ClassesNotTrained"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for all such classes."""
        classes = class_count(history)
        trained = history.batches(Group.LABELS).together().astype(np.int64)
        evaluations = [one for one in passes(history) if len(one.labels)]
        trained = trained[trained >= 0]
        if classes < 2 or len(trained) < LABELS or not evaluations:
            return
        asked = joined(evaluations[-2:])
        missing = _missing(trained, asked.labels, classes)
        if not len(missing):
            return
        share = float(np.isin(asked.labels, missing).mean())
        names = ", ".join(class_name(history, int(c)) for c in missing[:5])
        cause = _cause(history, trained, missing, classes)
        yield Finding(
            rule=self.name,
            where="classes",
            severity=Severity.ERROR,
            title=(
                f"{share:.0%} of the labels in evaluation belong to "
                f"{plural(len(missing), 'class', 'classes')} of which none came among "
                f"{len(trained):,} labels of training ({names})."
            ),
            causes=(cause,),
            count=len(missing),
            first_step=0,
            last_step=history.last_step,
            measured=share,
            threshold=ASKED,
            plot={
                "bars": shares(trained, min(classes, 200)).round(5).tolist(),
                "of": "share of the training labels",
            },
        )


def _missing(trained: Integers, asked: Integers, classes: int) -> Integers:
    """(k,) classes asked for that training would have shown."""
    share = shares(asked, classes)
    count = share * max(len(asked), 1)
    there = np.bincount(trained[trained < classes], minlength=classes)[:classes] > 0
    expected = len(trained) * share / UNEVEN
    missed = ~there & (share >= ASKED) & (count >= LEAST_ASKED) & (expected > CERTAINTY)
    return np.flatnonzero(missed).astype(np.int64)


def _cause(history: History, trained: Integers, missing: Integers, classes: int) -> Cause:
    asked = joined([one for one in passes(history) if one.judged][-2:])
    seen, wanted = shares(trained, classes), shares(asked.labels, classes)
    present = np.flatnonzero(seen)
    if len(present) == 1:
        return Cause(
            name="labels-shuffled",
            text=f"Every photo of training carries the label {int(present[0])}.",
            fix="Look at how labels are read from names or folders; a default or an index that "
            "never changes gives all the same.",
            score=0.96,
            evidence=f"{len(trained):,} labels of training are the same; evaluation has "
            f"{int((wanted > 0).sum())} classes.",
            change={"labels.mapping": "evaluation"},
        )
    into = _under_another(asked, missing, seen / np.maximum(wanted, 1e-9))
    if into:
        pairs = ", ".join(f"{class_name(history, c)} as {o}" for c, o in into[:3])
        return Cause(
            name="class-mapping-differs",
            text=f"Photos of these classes carry the label of another one in training: {pairs}.",
            fix="Take the class numbers of evaluation for training too: one number a class.",
            score=0.95,
            evidence="They are answered as that class nearly as surely as its own photos are.",
            change={"labels.mapping": "evaluation"},
        )
    counts = seen[present] / np.maximum(wanted[present], 1e-3)
    steep = float(counts.max()) > STEEP * float(counts.min())
    return Cause(
        name="class-imbalance",
        text="The classes are so uneven in training that some never come."
        if steep
        else "Their photos are not among the training photos.",
        fix="Put photos of every class into training: split class by class, and draw rare "
        "classes more often.",
        score=0.95,
        evidence=f"Of the {len(present)} classes that came, the commonest came "
        f"{float(counts.max() / counts.min()):.2g} times as often as the rarest.",
        change={"labels.classes": "all"} | ({"balance": "sampling"} if steep else {}),
    )


def _under_another(
    asked: Examples, missing: Integers, commoner: npt.NDArray[np.float64]
) -> list[tuple[int, int]]:
    """The missing classes and those under whose label their photos are; empty: they are not."""
    if not asked.judged:
        return []
    pairs, sure = [], 0
    for c in missing:
        answers = asked.predictions[asked.labels == c]
        other = int(np.bincount(answers, minlength=int(c) + 1).argmax())
        of_other = asked.predictions[asked.labels == other]
        own = float((of_other == other).mean()) if len(of_other) else 0.0
        sure += float((answers == other).mean()) > AS_SURELY * own > AS_SURELY * KNOWN
        pairs.append((int(c), other))
    others = {other for _, other in pairs}
    rest = [c for c in np.flatnonzero(commoner) if int(c) not in others]
    twice = not rest or min(commoner[list(others)]) > COMMONER * float(np.median(commoner[rest]))
    together = len(others) == len(pairs) and sure >= MOST * len(pairs)
    return pairs if together and twice else []
