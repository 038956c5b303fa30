"""Photos of one class that carry another one's label in training."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.examples import Examples, batches, class_count, class_name, passes, shares
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["ClassMislabelled"]

PHOTOS = 100
ASKED = 15
RARER, COMMONER = 0.6, 1.35
ERRORS = 2.5
TAKEN = 0.45
BACK = 0.3
OTHERS = 0.6
LESS, ELSEWHERE = 0.2, 0.5


class ClassMislabelled(Rule):
    """Many training photos of one class carry the label of another: the one is rarer in training
    than in evaluation, the other commoner by as much, and evaluation's photos of the first are
    answered as the second.

    Condition: in the labels of training (each photo once, 100 at least) one class is at most 0.6
    times as common as in evaluation and another at least 1.35 times, both by two and a half
    standard errors, while no other class's share differs by half as much; in the last evaluation
    45 % of 15 or more photos of the first are taken for the second (where most of the first are
    missing, as large a share less 20 points), at most 30 % of the second for the first, and the
    median of the other classes is 60 % right or more.

    Source: ours; Northcutt et al., Confident learning (2021), find labels wrong by class pairs,
    not evenly.
    """

    name = "ClassMislabelled"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the pair of classes that shows it most."""
        classes = class_count(history)
        asked = [one for one in passes(history) if one.judged]
        labels = _labels(history)
        if classes < 3 or not asked or len(labels) < PHOTOS:
            return
        pairs = list(_pairs(labels, asked[-1], classes))
        if not pairs:
            return
        share, one, other = max(pairs)
        here, there = shares(labels, classes), shares(asked[-1].labels, classes)
        names = class_name(history, one), class_name(history, other)
        yield Finding(
            rule=self.name,
            where=names[0],
            severity=Severity.WARNING,
            title=(
                f"{share:.0%} of {names[0]} is answered {names[1]}. Of training's labels "
                f"{here[one]:.0%} and of evaluation's {there[one]:.0%} are {names[0]}; "
                f"{here[other]:.0%} and {there[other]:.0%} are {names[1]}."
            ),
            causes=(
                Cause(
                    name="labels-noisy",
                    text=f"Training photos of {names[0]} carry the label of {names[1]}.",
                    fix=f"Look through the training photos of {names[1]} and move those of "
                    f"{names[0]} back.",
                    score=0.9,
                    evidence="What the one class lacks in training, the other has too much.",
                ),
                Cause(
                    name="class-imbalance",
                    text="Training and evaluation were drawn with other shares of the classes.",
                    fix="Split class by class (stratified), and draw rare classes more often.",
                    score=0.4,
                    change={"balance": "sampling"},
                ),
            ),
            count=int((labels == other).sum()),
            first_step=0,
            last_step=asked[-1].step,
            measured=share,
            threshold=TAKEN,
            plot={"bars": here.round(5).tolist(), "of": "share of the training labels"},
        )


def _labels(history: History) -> npt.NDArray[np.int64]:
    """(n,) labels of training, of photos that come back unchanged each once."""
    trained = batches(history)
    labels = np.concatenate([b.labels for b in trained] or [np.empty(0, np.int64)])
    marks = np.concatenate([b.fingerprints for b in trained] or [np.empty(0, np.int64)])
    if len(marks) == len(labels):
        labels = labels[np.unique(marks, return_index=True)[1]]
    return labels[labels >= 0]


def _pairs(
    labels: npt.NDArray[np.int64], asked: Examples, classes: int
) -> Iterable[tuple[float, int, int]]:
    """Share taken for the other, the class, and the other class."""
    counts = np.zeros((classes, classes))
    inside = (asked.labels < classes) & (asked.predictions < classes) & (asked.labels >= 0)
    np.add.at(counts, (asked.labels[inside], asked.predictions[inside]), 1)
    taken = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    here, there = shares(labels, classes), shares(asked.labels, classes)
    for one in range(classes):
        other = int(np.where(np.arange(classes) == one, -1, taken[one]).argmax())
        rest = np.delete(np.diag(taken), [one, other])
        if counts[one].sum() < ASKED or not len(rest) or np.median(rest) < OTHERS:
            continue
        gone = 1 - here[one] / max(there[one], 1e-12)
        if taken[one, other] < max(TAKEN, gone - LESS) or taken[other, one] > BACK:
            continue
        rarer = here[one] <= RARER * there[one] and _apart(there, here, one, labels, asked)
        commoner = here[other] >= COMMONER * there[other]
        commoner = commoner and _apart(here, there, other, labels, asked)
        if rarer and commoner and not _mix_differs(here, there, (one, other), labels, asked):
            yield float(taken[one, other]), one, other


def _mix_differs(
    here: npt.NDArray[np.float64],
    there: npt.NDArray[np.float64],
    pair: tuple[int, int],
    labels: npt.NDArray[np.int64],
    asked: Examples,
) -> bool:
    """Whether another class differs too, so that the splits have another mix of classes."""
    least = ELSEWHERE * (there[pair[0]] - here[pair[0]])
    for index in np.flatnonzero(np.abs(here - there) > least):
        more, less = (here, there) if here[index] > there[index] else (there, here)
        if index not in pair and _apart(more, less, int(index), labels, asked):
            return True
    return False


def _apart(
    more: npt.NDArray[np.float64],
    less: npt.NDArray[np.float64],
    index: int,
    labels: npt.NDArray[np.int64],
    asked: Examples,
) -> bool:
    """Whether a class's shares of the two differ by more than chance."""
    pooled = (more[index] + less[index]) / 2
    error = math.sqrt(pooled * (1 - pooled) * (1 / len(labels) + 1 / len(asked.labels)))
    return float(more[index] - less[index]) > ERRORS * error
