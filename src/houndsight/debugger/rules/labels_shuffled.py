"""The labels do not belong to the photos."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import (
    Examples,
    above_guessing,
    batches,
    class_count,
    effective_classes,
    guessing_accuracy,
    joined,
    passes,
    shares,
    tail,
    warming_up,
)
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import weight_ratios
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.rules.common_causes import learning_rate_too_high, learning_rate_too_low
from houndsight.findings import Cause, Finding, Severity

__all__ = ["LabelsShuffled"]

STEPS = 100
EVALUATED = 50
LEARNT = 0.2
SIGMAS = 3.0
MAPPED = 0.5
EXAMPLES_A_CLASS = 40
LOSS_BAND = 0.05
UPDATE_RANGE = (1e-5, 5e-2)
VARIETY = 0.4
SAME = 1e-4
TURNED = 0.15
BARELY = 0.05
REPEATS = 3.0
PHOTOS_A_CLASS = 20
SURE, ALIKE = 0.15, 0.2


class LabelsShuffled(Rule):
    """Labels and photos have come apart: sorted apart, shuffled one without the other, or numbered
    otherwise in evaluation than in training. A network can memorise such training photos, but
    says nothing true about others.

    Condition, any of: (1) answers in evaluation follow the labels one to one but under other
    numbers: of at least 100, naming each answer's most frequent label would be right for half or
    more and twice as often as the answers are. (2) Training accuracy is 20 points above guessing
    (10, after 100 steps, where photos came three times) while evaluation's, of at least 50 labels
    with varied answers, is within three standard errors of it, its answers are independent of
    the labels by chi-square, and there were 20 photos a class to learn from. (3) After at least
    100 steps and 40 examples a class, nothing was learnt although everything moves: over the last
    half the training accuracy is within three standard errors of guessing (five points where
    photos came three times and evaluation is no better than guessing; evaluation's not 10 points
    above), the
    loss within 5 % of the labels' entropy, weights change by between 1e-5 and 0.05 of their
    length a step and by 0.15 of it in all, gradients are not zero, outputs differ between photos,
    and a warm-up is over.

    Source: Zhang et al., Understanding deep learning requires rethinking generalization (2017):
    random labels are memorised to a loss of zero while the test accuracy stays at chance.
    """

    name = "LabelsShuffled"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding: for evaluation's numbering, or for the labels as a whole."""
        classes = class_count(history)
        trained = [batch for batch in batches(history) if batch.judged]
        if classes < 2 or not trained:
            return
        asked = [one for one in passes(history) if one.judged and len(one.labels) >= EVALUATED]
        if asked and (mapped := _mapped(asked[-1], classes)):
            yield self._renumbered(history, asked, mapped)
            return
        recent = joined(tail(trained, 0.2, 3))
        if asked and _memorised(trained, recent, asked[-1], classes):
            yield self._memorised(history, trained, recent, asked[-1], classes)
        elif trained[-1].step + 1 >= STEPS and not (asked and _knows(asked[-1], classes)):
            half = joined(tail(trained, 0.5))
            if _nothing_learnt(history, trained, half, asked, classes):
                yield self._stuck(history, trained, half, classes)

    def _renumbered(self, history: History, asked: list[Examples], mapped: float) -> Finding:
        last = asked[-1]
        cause = Cause(
            name="class-mapping-differs",
            text="Training and evaluation number the classes differently.",
            fix=(
                "Take class_to_idx of the training folder for evaluation, and check that both "
                "folders hold the same classes."
            ),
            score=0.95,
            evidence=(
                f"With its answers renumbered the network would be right for {mapped:.0%} instead "
                f"of {last.accuracy:.0%}."
            ),
            change={"evaluation.class_to_idx": "training.class_to_idx"},
        )
        return _finding(
            history,
            "evaluation",
            f"Evaluation numbers its classes otherwise than training: {last.accuracy:.0%} of "
            f"{len(last.labels):,} answers are right, and {mapped:.0%} once renumbered.",
            (cause, _shuffled(0.3, "Evaluation's labels do not agree with the answers.")),
            _Extent(asked[0].step, last.step, len(asked), last.accuracy, mapped),
        )

    def _memorised(
        self,
        history: History,
        trained: list[Examples],
        recent: Examples,
        asked: Examples,
        classes: int,
    ) -> Finding:
        guess = guessing_accuracy(asked.labels, classes)
        fresh = _first_sight(trained, classes)
        doubt = 0.45 if math.isnan(fresh) else 0.85 if fresh < SIGMAS else 0.2
        sight = (
            "unknown"
            if math.isnan(fresh)
            else "no better than guessing"
            if fresh < SIGMAS
            else "better than guessing"
        )
        evidence = f"On photos of training seen for the first time it is {sight}."
        unpaired = fresh > 2 * SIGMAS and _as_sure_as_in_training(history, recent, asked, classes)
        causes = (
            _unpaired(asked) if unpaired else _shuffled(doubt, evidence),
            Cause(
                name="preprocessing-differs",
                text="Evaluation's photos are prepared in another way than training's.",
                fix="Give evaluation the same scaling and normalisation as training.",
                score=0.5
                if unpaired
                else 0.9
                if fresh > 2 * SIGMAS
                else 0.5
                if doubt < 0.5
                else 0.3,
                evidence=evidence,
                change={"evaluation.preprocessing": "training.preprocessing"},
            ),
            Cause(
                name="small-data",
                text="There are too few photos to learn more than those photos.",
                fix="Add photos, start from pretrained weights, and augment.",
                score=0.1 if fresh > 2 * SIGMAS else 0.25,
                evidence=f"{len(np.unique(recent.fingerprints)):,} different photos of late.",
            ),
        )
        return _finding(
            history,
            "",
            f"The network learns its training photos ({recent.accuracy:.0%} right) but is no "
            f"better than guessing in evaluation ({asked.accuracy:.0%} of {len(asked.labels):,}, "
            f"guessing {guess:.0%}).",
            tuple(sorted(causes, key=lambda cause: -cause.score)),
            _Extent(trained[0].step, asked.step, len(trained), asked.accuracy, guess),
        )

    def _stuck(
        self, history: History, trained: list[Examples], half: Examples, classes: int
    ) -> Finding:
        guess = guessing_accuracy(half.labels, classes)
        evidence = "Weights move and gradients flow, yet the loss stays at the labels' entropy."
        causes = (
            _shuffled(0.6, evidence),
            learning_rate_too_low(history, evidence, 0.3),
            learning_rate_too_high(history, evidence, 0.3),
        )
        return _finding(
            history,
            "",
            f"Nothing was learnt in {trained[-1].step + 1:,} steps although the weights move: "
            f"{half.accuracy:.1%} of the last {len(half.labels):,} training answers are right, "
            f"guessing gets {guess:.1%}.",
            causes,
            _Extent(trained[0].step, trained[-1].step, len(trained), half.accuracy, guess),
        )


@dataclass(frozen=True)
class _Extent:
    first: int
    last: int
    count: int
    measured: float
    threshold: float


def _finding(
    history: History, where: str, title: str, causes: tuple[Cause, ...], extent: _Extent
) -> Finding:
    accuracy = history.scalar("accuracy")
    return Finding(
        rule=LabelsShuffled.name,
        where=where,
        severity=Severity.WARNING,
        title=title,
        causes=causes,
        count=extent.count,
        first_step=extent.first,
        last_step=extent.last,
        measured=extent.measured,
        threshold=extent.threshold,
        plot=line_plot(accuracy.steps, {"training accuracy": accuracy.values[:, 0]})
        if len(accuracy)
        else {},
    )


def _shuffled(score: float, evidence: str) -> Cause:
    return Cause(
        name="labels-shuffled",
        text="The labels do not belong to the photos.",
        fix=(
            "Show twenty photos with their labels just before the network; look for lists that "
            "are sorted, filtered or shuffled one without the other."
        ),
        score=score,
        evidence=evidence,
        change={"labels.pairing": True},
    )


def _unpaired(asked: Examples) -> Cause:
    return Cause(
        name="labels-shuffled",
        text="Evaluation's labels do not belong to its photos.",
        fix="Read evaluation's photos and labels from one list: look for a sort, a filter or a "
        "shuffle that only one of the two went through.",
        score=0.93,
        evidence=f"Its {len(asked.labels):,} answers are as sure as training's and as varied as "
        "the labels, yet tell nothing of them.",
        change={"evaluation.pairing": "by index"},
    )


def _as_sure_as_in_training(
    history: History, recent: Examples, asked: Examples, classes: int
) -> bool:
    """Whether evaluation's photos look to the network like those that it knows."""
    entropies = [
        history.series(Group.LOGITS, Statistic.ENTROPY, mode) for mode in (Mode.TRAIN, Mode.EVAL)
    ]
    if not all(len(series) for series in entropies):
        return False
    trained, there = entropies
    level = float(np.median(trained.values[-max(len(trained) // 5, 3) :]))
    now = float(np.median(there.values[there.steps == there.steps[-1]]))
    apart = np.abs(shares(asked.predictions, classes) - shares(recent.labels, classes)).sum() / 2
    return now < level + SURE * math.log(classes) and float(apart) < ALIKE


def _knows(asked: Examples, classes: int) -> bool:
    """Whether evaluation shows that something was learnt, whatever training says."""
    guess = guessing_accuracy(asked.labels, classes)
    return asked.accuracy > guess + LEARNT / 2 and above_guessing(asked, classes) > SIGMAS


def _repeated(trained: list[Examples]) -> bool:
    """Whether photos came three times, unchanged."""
    marks = joined(trained).fingerprints
    return len(marks) > REPEATS * len(np.unique(marks))


def _barely(trained: list[Examples], half: Examples, asked: list[Examples], classes: int) -> bool:
    """Whether what is right beyond guessing is a little memory of photos seen repeatedly."""
    little = half.accuracy < guessing_accuracy(half.labels, classes) + BARELY
    return (
        little
        and _repeated(trained)
        and bool(asked)
        and above_guessing(asked[-1], classes) < SIGMAS
    )


def _mapped(asked: Examples, classes: int) -> float:
    """Accuracy of the answers once renumbered, where that is far better; else 0."""
    if len(asked.labels) < 2 * EVALUATED or classes > 5000:
        return 0.0
    usable = (asked.labels >= 0) & (asked.labels < classes) & (asked.predictions < classes)
    table = np.zeros((classes, classes))
    np.add.at(table, (asked.predictions[usable], asked.labels[usable]), 1)
    # Each label for one answer at most, and small tables of chance must not look like order.
    best = float(min(table.max(axis=1).sum(), table.max(axis=0).sum())) / len(asked.labels)
    chance = float(np.sqrt(classes / len(asked.labels)))
    clear = best >= MAPPED and best > 2 * asked.accuracy and best > 1.5 * min(chance, 0.6)
    guess = guessing_accuracy(asked.labels, classes)
    varied = effective_classes(asked.predictions, classes) > 1.5
    return best if clear and varied and best > guess + LEARNT else 0.0


def _memorised(trained: list[Examples], recent: Examples, asked: Examples, classes: int) -> bool:
    guess = guessing_accuracy(recent.labels, classes)
    again = trained[-1].step + 1 >= STEPS and _repeated(trained)
    learnt = (
        recent.accuracy > guess + (LEARNT / 2 if again else LEARNT)
        and above_guessing(recent, classes) > SIGMAS
    )
    varied = effective_classes(asked.predictions, classes) - 1
    varied /= max(effective_classes(asked.labels, classes) - 1, 0.05)
    dependent = _depends(asked, classes)
    return learnt and varied > VARIETY and not dependent and _many(trained, classes)


def _depends(asked: Examples, classes: int) -> bool:
    """Whether answers in evaluation tell anything of the labels, by chi-square."""
    inside = (asked.labels >= 0) & (asked.labels < classes) & (asked.predictions < classes)
    table = np.zeros((classes, classes))
    np.add.at(table, (asked.labels[inside], asked.predictions[inside]), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0) / max(table.sum(), 1)
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    if not freedom or above_guessing(asked, classes) >= SIGMAS:
        return above_guessing(asked, classes) >= SIGMAS
    statistic = float(((table - expected) ** 2 / expected).sum())
    # Wilson and Hilferty (1931): the cube root is nearly normal.
    root = (statistic / freedom) ** (1 / 3)
    return bool((root - 1 + 2 / (9 * freedom)) / math.sqrt(2 / (9 * freedom)) > SIGMAS)


def _many(trained: list[Examples], classes: int) -> bool:
    """Whether there were photos enough that evaluation would profit from true labels."""
    marks = joined(trained).fingerprints
    return not len(marks) or len(np.unique(marks)) >= PHOTOS_A_CLASS * classes


def _nothing_learnt(
    history: History,
    trained: list[Examples],
    half: Examples,
    asked: list[Examples],
    classes: int,
) -> bool:
    if sum(len(batch.labels) for batch in trained) < EXAMPLES_A_CLASS * classes:
        return False
    if above_guessing(half, classes) > SIGMAS and not _barely(trained, half, asked, classes):
        return False
    loss = history.scalar("loss").values
    late = loss[len(loss) // 2 :]
    level = math.log(max(effective_classes(half.labels, classes), 1.05))
    if warming_up(history):
        return False
    near = len(late) > 0 and abs(float(np.median(late)) / level - 1) < LOSS_BAND
    ratios, middle = weight_ratios(history)
    if _same_outputs(history) or not near or not len(middle):
        return False
    low, high = UPDATE_RANGE
    gradients = history.series(Group.GRADIENTS, Statistic.NORM).values
    flowing = not gradients.size or float((gradients[-20:] > 0).mean()) > 0.5
    turned = float(middle.sum()) > TURNED
    return bool(len(ratios)) and turned and low < float(np.median(middle)) < high and flowing


def _same_outputs(history: History) -> bool:
    """Whether outputs do not depend on the photo, which is another fault than its label."""
    names = (Statistic.ROW_SUM_STD, Statistic.MINIMUM, Statistic.MAXIMUM)
    spread, low, high = (history.series(Group.LOGITS, name).values for name in names)
    if not 0 < len(spread) == len(low) == len(high):
        return False
    middle = len(spread) // 2
    return bool((spread < SAME * (high - low))[middle:].mean() > 0.5)


def _first_sight(trained: list[Examples], classes: int) -> float:
    """Standard errors above guessing on examples of training seen for the first time.

    Of the last half of those in the first pass over the data; NaN where examples never repeat.
    """
    marks = np.concatenate([batch.fingerprints for batch in trained])
    right = np.concatenate([batch.right for batch in trained])
    labels = np.concatenate([batch.labels for batch in trained])
    if len(marks) != len(right) or not len(marks):
        return float("nan")
    _, first = np.unique(marks, return_index=True)
    if len(first) > 0.9 * len(marks) or len(first) < 2 * EVALUATED:
        return float("nan")
    late = np.sort(first)[len(first) // 2 :]
    guess = guessing_accuracy(labels[late], classes)
    return float((right[late].mean() - guess) / math.sqrt(guess * (1 - guess) / len(late) + 1e-9))
