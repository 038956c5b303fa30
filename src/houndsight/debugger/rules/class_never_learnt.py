"""A class is never recognised although the others are."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import (
    Examples,
    Floats,
    Integers,
    batches,
    class_count,
    class_name,
    joined,
    passes,
    tail,
)
from houndsight.debugger.history import History
from houndsight.debugger.record import Group
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["ClassNeverLearnt"]

STEPS = 50
LEAST = 15
LEARNING = 0.05
MISSED = 0.03
OTHERS, TOLD_APART = 0.7, 0.5


class ClassNeverLearnt(Rule):
    """The network recognises the other classes and never this one: its photos were labelled as
    another class, it has no weight in the loss, or it is too rare.

    Condition, from 50 steps on: of at least 15 examples of the class in each of the last two
    evaluations (in training, over the last two fifths and again the last fifth) at most 3 % are
    recognised, while the median of the other classes is 70 % or more. A remark while the
    training loss still falls by 5 % of ln C a quarter of the training, unless the loss itself
    leaves the class out; and of evaluation, where training recognises under half of it too, since
    then it is just hard to tell.

    Source: ours. None right of 15 has a chance of 3e-5 for a class that is recognised every
    second time.
    """

    name = "ClassNeverLearnt"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding a class."""
        classes = class_count(history)
        if classes < 2 or history.last_step + 1 < STEPS:
            return
        asked = [one for one in passes(history) if one.judged and one.step >= STEPS / 2][-2:]
        trained = [batch for batch in batches(history) if batch.judged]
        shown = [joined(tail(trained, 0.4, 2)), joined(tail(trained, 0.2))] if trained else []
        done: set[int] = set()
        for looks, what in ((shown, "training"), (asked, "evaluation")):
            missed, counts = _missed(looks, classes)
            for index in missed:
                if index not in done:
                    hard = what == "evaluation" and shown and _hard(shown[-1], index)
                    yield self._finding(history, looks, index, counts[index], what, bool(hard))
            done.update(missed)

    def _finding(
        self,
        history: History,
        looks: list[Examples],
        index: int,
        count: int,
        what: str,
        hard: bool,
    ) -> Finding:
        name = class_name(history, index)
        last = looks[-1]
        of_class = last.predictions[last.labels == index]
        values, times = np.unique(of_class, return_counts=True)
        instead = int(values[times.argmax()])
        share = float(times.max() / len(of_class))
        right = int((of_class == index).sum())
        causes = _causes(history, index, share, instead, what)
        open_end = causes[0].name != "wrong-loss" and _still_learning(history)
        return Finding(
            rule=self.name,
            where=name,
            severity=Severity.INFO if open_end or hard else Severity.WARNING,
            title=(
                f"{name[0].upper() + name[1:]} is never recognised: {right} of {count} in {what}, "
                f"with {class_name(history, instead)} answered for "
                f"{share:.0%} of them."
            ),
            causes=causes,
            count=int(count),
            first_step=looks[0].step,
            last_step=last.step,
            measured=float((of_class == index).mean()),
            threshold=MISSED,
            plot={"bars": _recalls(last, history).tolist(), "of": "share recognised, by class"},
        )


def _missed(looks: list[Examples], classes: int) -> tuple[list[int], Integers]:
    """Classes missed in both looks while the others are known; labels of each in the last."""
    counts = np.zeros(classes, np.int64)
    if len(looks) < 2:
        return [], counts
    missed = np.ones(classes, bool)
    for look in looks:
        labels = look.labels
        inside = (labels >= 0) & (labels < classes)
        counts = np.bincount(labels[inside], minlength=classes)
        right = np.bincount(labels[inside & look.right], minlength=classes)
        recall = right / np.maximum(counts, 1)
        known = counts >= LEAST
        if known.sum() < 2:
            return [], counts
        for index in np.flatnonzero(missed):
            others = known & (np.arange(classes) != index)
            missed[index] = (
                bool(known[index])
                and recall[index] <= MISSED
                and float(np.median(recall[others])) >= OTHERS
            )
    return [int(index) for index in np.flatnonzero(missed)], counts


def _hard(shown: Examples, index: int) -> bool:
    """Whether training, where the class does come, recognises it seldom too: it is just hard."""
    of_class = shown.predictions[shown.labels == index]
    return len(of_class) >= LEAST and float((of_class == index).mean()) < TOLD_APART


def _still_learning(history: History) -> bool:
    loss = history.scalar("loss").values
    loss = loss[np.isfinite(loss)]
    quarter = len(loss) // 4
    if not quarter:
        return True
    fallen = float(loss[-2 * quarter : -quarter].mean() - loss[-quarter:].mean())
    return fallen > LEARNING * math.log(max(class_count(history), 2))


def _recalls(look: Examples, history: History) -> Floats:
    classes = min(class_count(history), 200)
    inside = (look.labels >= 0) & (look.labels < classes)
    counts = np.bincount(look.labels[inside], minlength=classes)
    right = np.bincount(look.labels[inside & look.right], minlength=classes)
    return np.round(right / np.maximum(counts, 1), 4)


def _causes(
    history: History, index: int, share: float, instead: int, what: str
) -> tuple[Cause, ...]:
    loss = history.structure.loss
    settings = loss.settings if loss else {}
    weight = settings.get("weight")
    weightless = isinstance(weight, list | tuple) and len(weight) > index and not weight[index]
    causes = []
    if settings.get("ignore_index") == index or weightless:
        causes.append(
            Cause(
                name="wrong-loss",
                text="The loss leaves this class out.",
                fix=f"Remove ignore_index={index}, or give the class a weight in the loss.",
                score=0.97,
                evidence=f"The loss's settings are {dict(settings)}.",
                change={"loss.weight": None} if weightless else {"loss.ignore_index": -100},
            )
        )
    labels = history.batches(Group.LABELS).together()
    frequency = float((labels == index).mean()) * class_count(history) if len(labels) else 1.0
    causes += [
        Cause(
            name="class-mapping-differs" if what == "evaluation" else "labels-shuffled",
            text=f"Its photos carry the label of class {instead}, or the other way round.",
            fix="Look at ten photos of each of the two classes with their labels.",
            score=0.6 if share > 0.7 else 0.35,
            evidence=f"{share:.0%} of its photos are taken for {class_name(history, instead)}.",
        ),
        Cause(
            name="class-imbalance",
            text="It is so rare in training that it does not count.",
            fix="Weight the loss by class, or draw the classes evenly.",
            score=0.7 if frequency < 0.2 else 0.2,
            evidence=f"It comes {frequency:.2g} times as often in training as if all were even.",
            change={"balance": "weights"},
        ),
    ]
    return tuple(sorted(causes, key=lambda cause: -cause.score))
