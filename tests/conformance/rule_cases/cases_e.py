"""The rules on steps that do nothing, on weights held or averaged, on labels of other photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.structure import LossRecord
from houndsight.debugger.testing import Case, Recording, healthy
from rule_cases.cases_d import BASE, answers, lengths, marked


def never_stepped(stepped: bool) -> Recording:
    """What the hook makes of a loop without a backward pass: evaluations, stepped after or not."""
    rows = []
    for row in BASE.rows:
        if row.mode != Mode.TRAIN or row.group in (Group.PARAMETERS, Group.GRADIENTS):
            continue
        if row.group in (Group.UPDATES, Group.OPTIMIZER, Group.BATCHNORM):
            continue
        if row.group == Group.FLAGS and stepped:
            values = np.append(row.values, np.float32(1))
            row = replace(row, names=(*row.names, "stepped"), values=values)
        rows.append(replace(row, mode=Mode.EVAL, step=0))
    return replace(BASE, rows=tuple(rows))


def clamped(limit: float, share: float = 1.0) -> Recording:
    """The first weights end at a limit, from the second step on."""

    def of(sign: int) -> Callable[[Any, Row], Any]:
        def hold(values: Any, row: Row) -> Any:
            held = np.arange(len(values)) < share * len(values)
            return np.where(held & (row.step > 0), sign * limit, values)

        return hold

    low = BASE.changed(Group.PARAMETERS, Statistic.MINIMUM, of(-1))
    return low.changed(Group.PARAMETERS, Statistic.MAXIMUM, of(1))


def averaged(behind: float, evaluated: float) -> Recording:
    """Weights grow by a half; evaluation's have made `1 - behind` of that way."""

    def grown(step: int) -> float:
        return 1 + 0.5 * step / 160

    made = answers(lambda step: evaluated, Mode.EVAL, lengths(BASE, grown))
    rows, seen = list(made.rows), set[int]()
    norms = next(
        row for row in rows if row.group == Group.PARAMETERS and row.statistic == Statistic.NORM
    )
    for row in made.rows:
        if row.mode == Mode.EVAL and row.step not in seen:
            seen.add(row.step)
            way = 1 + (grown(row.step) - 1) * (1 - behind)
            values = np.full(len(norms.names), 3 * way, np.float32)
            rows.append(
                replace(
                    norms,
                    mode=Mode.EVAL,
                    step=row.step,
                    forward=row.forward,
                    values=values,
                    time=row.time,
                )
            )
    return replace(made, rows=tuple(rows))


def weighted(first: float, recording: Recording = BASE) -> Recording:
    """The first class weighs so much, the others 1."""
    loss = recording.structure.loss
    assert isinstance(loss, LossRecord)
    settings = {**loss.settings, "weight": [first] + [1.0] * 9}
    return recording.restructured(loss=replace(loss, settings=settings))


def mislabelled(share: float) -> Recording:
    """A share of training's class 0 under label 1; evaluation answers those photos so."""

    def under(values: Any, row: Row) -> Any:
        moved = np.random.default_rng(row.step).random(len(values)) < share
        return np.where((values == 0) & moved, 1, values)

    made = LONG.changed(Group.LABELS, None, under, mode=Mode.TRAIN)
    known = {
        (row.step, row.forward): row.integers
        for row in LONG.rows
        if row.group == Group.LABELS and row.mode == Mode.EVAL
    }

    def answered(values: Any, row: Row) -> Any:
        truth = known[row.step, row.forward]
        assert truth is not None
        wrong = np.random.default_rng(row.forward).random(len(truth)) < share
        return np.where((truth == 0) & wrong, 1, truth)

    return made.changed(Group.PREDICTIONS, None, answered, mode=Mode.EVAL)


def good_and_bad(recording: Recording = BASE) -> Recording:
    """Every other batch is right, the rest is not; evaluation is."""
    made = answers(lambda step: 0.9 if step % 2 else 0.1, Mode.TRAIN, recording)
    return answers(lambda step: 0.9, Mode.EVAL, made)


def critic(recording: Recording) -> Recording:
    """The loss is none of PyTorch's."""
    return recording.restructured(loss=LossRecord(kind="custom"))


def all_photos(recording: Recording) -> Recording:
    """Every step has the same photos, in another order."""

    def shuffled(values: Any, row: Row) -> Any:
        return np.random.default_rng(row.step).permutation(len(values))

    return recording.changed(Group.EXAMPLES, None, shuffled, mode=Mode.TRAIN)


def another_mix(recording: Recording) -> Recording:
    """Training also lacks class 5, whose photos are other classes' in equal parts."""

    def others(values: Any, row: Row) -> Any:
        rest = np.array([2, 3, 4, 6, 7, 8, 9])
        return np.where(values == 5, rest[np.arange(len(values)) % len(rest)], values)

    return recording.changed(Group.LABELS, None, others, mode=Mode.TRAIN)


def twice_asked(recording: Recording) -> Recording:
    """Steps of two forwards with the same labels."""

    def halved(row: Row) -> Row:
        return replace(row, step=row.step // 2, forward=row.forward - row.forward % 2)

    labels = {
        row.forward: row.integers
        for row in recording.rows
        if row.group == Group.LABELS and row.mode == Mode.TRAIN
    }
    rows = []
    for row in recording.rows:
        if row.mode == Mode.TRAIN:
            if row.group == Group.LABELS:
                row = replace(row, integers=labels[halved(row).forward])
            row = replace(row, step=row.step // 2)
        rows.append(row)
    return replace(recording, rows=tuple(rows))


def outputs(largest: float, entropy: float, smallest: float | None = None) -> Recording:
    """Outputs within a range, and how uncertain the answers are."""
    low = -largest if smallest is None else smallest
    made = BASE.changed(Group.LOGITS, Statistic.MINIMUM, lambda v, row: v * 0 + low)
    made = made.changed(Group.LOGITS, Statistic.MAXIMUM, lambda v, row: v * 0 + largest)
    made = made.changed(Group.LOGITS, Statistic.ENTROPY, lambda v, row: v * 0 + entropy)
    return answers(lambda step: 0.9, Mode.TRAIN, made)


LONG = healthy(200, batch=128)
SHORT = healthy(6, evaluate_every=1, batch=16)
CASES: dict[str, tuple[list[Case], list[Case]]] = {
    "BackwardMissing": (
        [Case("stepped all the same", never_stepped(True))],
        [Case("an evaluation", never_stepped(False)), Case("a training", BASE)],
    ),
    "WeightsClamped": (
        [Case("all", clamped(0.01)), Case("nearly all", clamped(0.01, 0.95))],
        [
            Case("some", clamped(0.01, 0.5)),
            Case("within 1, as binary networks", clamped(1.0)),
            Case("a critic's, whose loss is a mean", critic(clamped(0.01))),
            Case("none", BASE),
        ],
    ),
    "EvaluationWeightsLag": (
        [Case("hardly moved", averaged(0.98, 0.2)), Case("a tenth", averaged(0.9, 0.3))],
        [
            Case("close behind", averaged(0.2, 0.2)),
            Case("far behind and as good", averaged(0.98, 0.9)),
        ],
    ),
    "FewSteps": (
        [Case("six in six epochs", SHORT)],
        [
            Case("they may go on", SHORT, ended=False),
            Case("forty", healthy(40, evaluate_every=7)),
            Case("six without evaluation", healthy(6, evaluate_every=10)),
            Case("all photos at each step", all_photos(SHORT)),
        ],
    ),
    "LossWeights": (
        [Case("a thousand", weighted(1000.0)), Case("a hundred", weighted(100.0))],
        [
            Case("five", weighted(5.0)),
            Case("none", BASE),
            Case("nan", weighted(float("nan"))),
        ],
    ),
    "ClassMislabelled": (
        [Case("most", mislabelled(0.7)), Case("nearly all", mislabelled(0.95))],
        [
            Case("a few", mislabelled(0.1)),
            Case("another class is rare too", another_mix(mislabelled(0.7))),
            Case("none", BASE),
        ],
    ),
    "MixedWithoutLabels": (
        [Case("good and bad", good_and_bad())],
        [
            Case("photos come back", good_and_bad(marked(800))),
            Case("all alike", answers(lambda step: 0.5, Mode.TRAIN)),
            Case("each step asks twice", twice_asked(good_and_bad())),
        ],
    ),
    "LogitsBounded": (
        [Case("cosines", outputs(0.95, 1.9))],
        [
            Case("wide", outputs(8.0, 1.9)),
            Case("sure", outputs(0.95, 0.5)),
            Case("never negative, as a softmax's", outputs(0.95, 1.9, 0.0)),
        ],
    ),
}
