"""The rules on what reaches the outputs, on weights changed by others, and on what photos show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.structure import LossRecord, ModuleRecord
from houndsight.debugger.testing import Case, Recording, healthy

BASE = healthy(160)
ADAM = healthy(160, optimizer="Adam", rate=1e-3)
LAYOUT = (Statistic.ROUGHNESS, Statistic.COLOUR, Statistic.TILT, Statistic.LEAN)


def scalars(recording: Recording, figures: Mapping[str, float]) -> Recording:
    """With further scalars of training."""

    def widen(row: Row) -> Row:
        if row.group != Group.SCALARS or row.mode != Mode.TRAIN:
            return row
        values = np.append(row.values, np.float32([*figures.values()]))
        return replace(row, names=(*row.names, *figures), values=values)

    return replace(recording, rows=tuple(widen(row) for row in recording.rows))


def came_back(recording: Recording, rows: float, scale: float, alignment: float) -> Recording:
    """With what the outputs got as a gradient."""
    figures = {"gradient_rows": rows, "gradient_scale": scale, "gradient_alignment": alignment}
    return scalars(recording, figures)


def known_already(share: float) -> Recording:
    """So many examples of each batch without any loss."""

    def of(values: Any, row: Row) -> Any:
        return np.where(np.arange(len(values)) < share * len(values), 0.0, values)

    return BASE.changed(Group.LOSSES, None, of, mode=Mode.TRAIN)


def updates(recording: Recording, ratio: float) -> Recording:
    """Every update so long."""
    return recording.changed(Group.UPDATES, None, lambda v, row: np.full_like(v, ratio))


def lengths(recording: Recording, factor: Callable[[int], float]) -> Recording:
    """The weights' lengths times `factor(step)`."""
    return recording.changed(
        Group.PARAMETERS, Statistic.NORM, lambda v, row: 3 * np.ones_like(v) * factor(row.step)
    )


def unreached(recording: Recording) -> Recording:
    """No gradient comes to any weight in the first step."""

    def none(values: Any, row: Row) -> Any:
        return values if row.step else values * 0

    return recording.changed(Group.GRADIENTS, Statistic.NORM, none)


def some_begin_at_zero(count: int) -> Recording:
    """The first convolutions and the head begin at 0."""

    def of(values: Any, row: Row) -> Any:
        return np.where((np.arange(len(values)) < count) & (row.step == 0), 0.0, values)

    names = [p.name for p in BASE.structure.parameters if len(p.shape) > 1]
    return BASE.changed(Group.PARAMETERS, Statistic.NORM, of, names=names)


def rate(recording: Recording, of: Callable[[int], float]) -> Recording:
    """Another schedule."""
    return recording.changed(
        Group.SCALARS,
        None,
        lambda v, row: np.full_like(v, of(row.step)),
        names=["learning_rate"],
        mode=Mode.TRAIN,
    )


def stuck(recording: Recording, level: float = 2.0) -> Recording:
    """The loss stays where it is."""
    return recording.changed(
        Group.SCALARS,
        None,
        lambda v, row: np.full_like(v, level) + 0.01 * (row.step % 3),
        names=["loss"],
        mode=Mode.TRAIN,
    )


def smoothing(value: float) -> Recording:
    """A loss with label smoothing."""
    loss = BASE.structure.loss
    assert isinstance(loss, LossRecord)
    return BASE.restructured(loss=replace(loss, settings={"label_smoothing": value}))


def activations(kind: str, recording: Recording = BASE) -> Recording:
    """All hidden activations of a kind."""
    modules = tuple(
        ModuleRecord(name=m.name, kind=kind if m.kind == "ReLU" else m.kind, order=m.order)
        for m in recording.structure.modules
    )
    return recording.restructured(modules=modules)


def labels(change: Callable[[Any, Row], Any], mode: Mode = Mode.TRAIN) -> Recording:
    """Other labels."""
    return BASE.changed(Group.LABELS, None, change, mode=mode)


def marked(count: int, recording: Recording = BASE) -> Recording:
    """Only so many different training photos, the last ones first seen in the first steps."""

    def of(values: Any, row: Row) -> Any:
        return (np.arange(len(values)) + len(values) * row.step) % count

    return recording.changed(Group.EXAMPLES, None, of, mode=Mode.TRAIN)


def answers(right: Callable[[int], float], mode: Mode, recording: Recording = BASE) -> Recording:
    """A share `right(step)` of the answers is the label."""
    known = {
        (row.mode, row.step, row.forward): row.integers
        for row in recording.rows
        if row.group == Group.LABELS
    }

    def of(values: Any, row: Row) -> Any:
        truth = known[row.mode, row.step, row.forward]
        assert truth is not None
        wrong = np.random.default_rng(row.forward).random(len(truth)) >= right(row.step)
        return np.where(wrong, (truth + 1 + np.arange(len(truth)) % 8) % 10, truth)

    return recording.changed(Group.PREDICTIONS, None, of, mode=mode)


def unlike(evaluated: float) -> Recording:
    """Training is right at first sight, evaluation as often as said."""
    trained = answers(lambda step: 0.8, Mode.TRAIN, marked(1000))
    return answers(lambda step: evaluated, Mode.EVAL, trained)


def laid_out(train: Mapping[Statistic, float], valid: Mapping[Statistic, float]) -> Recording:
    """With figures of how photos are made; training photos come back unchanged."""
    rows = list(marked(800).rows)
    random = np.random.default_rng(3)
    for row in BASE.rows:
        if row.group != Group.INPUTS or row.statistic != Statistic.MEAN:
            continue
        figures = train if row.mode == Mode.TRAIN else valid
        for statistic in LAYOUT:
            value = figures.get(statistic, 0.3) + random.normal(0, 0.005)
            made = replace(row, statistic=statistic, names=("image",))
            rows.append(replace(made, values=np.float32([value])))
    return replace(BASE, rows=tuple(rows))


def augmented(recording: Recording) -> Recording:
    """No training photo comes twice as it was."""
    whole = (row for row in BASE.rows if row.group == Group.EXAMPLES)
    rows = [row for row in recording.rows if row.group != Group.EXAMPLES]
    return replace(recording, rows=(*rows, *whole))


def spread(of: Callable[[int], float]) -> Recording:
    """The training photos' standard deviation times `of(step)`."""
    return BASE.changed(
        Group.INPUTS, Statistic.STD, lambda v, row: v * of(row.step), mode=Mode.TRAIN
    )


def merged(values: Any, row: Row) -> Any:
    """Odd classes under the label before them."""
    return values - values % 2


def maximizing(recording: Recording) -> Recording:
    """The optimizer climbs."""
    optimizer = recording.structure.optimizer
    assert optimizer is not None
    groups = tuple({**group, "maximize": True} for group in optimizer.groups)
    return recording.restructured(optimizer=replace(optimizer, groups=groups))


CASES: dict[str, tuple[list[Case], list[Case]]] = {
    "LossGradient": (
        [
            Case("negated", came_back(BASE, 1, -1, -1)),
            Case("one of 32", came_back(BASE, 1 / 32, 1, 0.2)),
            Case("summed", came_back(updates(BASE, 0.1), 1, 32, 1)),
            Case("a hundredth", came_back(updates(BASE, 1e-4), 1, 0.01, 1)),
            Case("maximized", came_back(maximizing(BASE), 1, 1, 1)),
        ],
        [
            Case("as it should be", came_back(BASE, 1, 1, 1)),
            Case("smoothed labels", came_back(BASE, 1, 0.8, 0.9)),
            Case("summed for Adam", came_back(updates(ADAM, 0.1), 1, 32, 1)),
            Case("a hundredth for Adam", came_back(ADAM, 1, 0.01, 1)),
            Case("negated and maximized", came_back(maximizing(BASE), 1, -1, -1)),
            Case("most are known already", came_back(known_already(0.7), 0.3, 1, 1)),
        ],
    ),
    "LabelSmoothingTooStrong": (
        [Case("nearly all", smoothing(0.95)), Case("a third", smoothing(0.35))],
        [Case("usual", smoothing(0.1)), Case("a third is a remark", smoothing(0.35))],
    ),
    "RateDecayedEarly": (
        [Case("each batch", rate(stuck(BASE), lambda step: 0.05 * 0.7**step))],
        [
            Case("each batch, but learnt", rate(BASE, lambda step: 0.05 * 0.7**step)),
            Case("ends with the training", rate(stuck(BASE), lambda s: 0.05 * (1 - s / 160))),
        ],
    ),
    "EvaluationUnlikeTraining": (
        [Case("far worse", unlike(0.3)), Case("worse", unlike(0.5))],
        [Case("alike", unlike(0.8)), Case("no photo comes twice", augmented(unlike(0.3)))],
    ),
    "LayoutDiffers": (
        [
            Case("blurred", laid_out({}, {Statistic.ROUGHNESS: 0.1})),
            Case("grey", laid_out({}, {Statistic.COLOUR: 0.0})),
            Case("upside down", laid_out({}, {Statistic.TILT: -0.3})),
            Case(
                "drowned",
                augmented(laid_out({Statistic.ROUGHNESS: 0.9}, {Statistic.ROUGHNESS: 0.1})),
            ),
        ],
        [
            Case("alike", laid_out({}, {})),
            Case("augmented", augmented(laid_out({}, {Statistic.ROUGHNESS: 0.15}))),
        ],
    ),
    "ClassesNotTrained": (
        [
            Case("two left out", labels(lambda v, row: v % 8)),
            Case("one label", labels(lambda v, row: v * 0)),
            Case("merged", answers(lambda s: 0.9, Mode.TRAIN, labels(merged))),
        ],
        [
            Case("not asked for", BASE.changed(Group.LABELS, None, lambda v, row: v % 8)),
            Case("rare", healthy(200, imbalance=10.0)),
        ],
    ),
    "FewExamples": (
        [Case("twenty", answers(lambda s: 0.4, Mode.EVAL, marked(20)))],
        [
            Case("twenty that suffice", answers(lambda s: 0.9, Mode.EVAL, marked(20))),
            Case("eighty", answers(lambda s: 0.4, Mode.EVAL, marked(80))),
        ],
    ),
    "InputsDrift": (
        [Case("wider", spread(lambda step: 1 + step / 100))],
        [
            Case("a little", spread(lambda step: 1 + step / 2000)),
            Case("up and down", spread(lambda step: 1 + 0.5 * np.sin(step / 10))),
        ],
    ),
    "WeightsOverwritten": (
        [
            Case("drawn anew", lengths(BASE, lambda step: 1 + 0.01 * (step % 40))),
            Case("set back", lengths(BASE, lambda step: 1.5 - 0.2 * (step % 30 == 0) * (step > 0))),
        ],
        [
            Case("once", lengths(BASE, lambda step: 1.0 if step < 100 else 1.3)),
            Case("by its updates", updates(lengths(BASE, lambda s: 1 + 0.2 * (s % 9)), 0.9)),
        ],
    ),
    "ShrinkingWeights": (
        [Case("by a tenth", updates(lengths(BASE, lambda step: 0.9**step), 0.1))],
        [
            Case("turning", updates(lengths(BASE, lambda step: 0.999**step), 0.1)),
            Case("slowly", updates(lengths(BASE, lambda step: 0.999**step), 0.001)),
        ],
    ),
    "HiddenSigmoid": (
        [
            Case("stuck", activations("Sigmoid", stuck(BASE))),
            Case("learning", activations("Sigmoid")),
            Case("softmaxes", activations("Softmax", stuck(BASE))),
        ],
        [
            Case("learning is a remark", activations("Sigmoid")),
            Case("tanh", activations("Tanh", stuck(BASE))),
        ],
    ),
    "InitialWeightsScale": (
        [
            Case("a thousandth", lengths(BASE, lambda step: 1e-3 * (1 + step))),
            Case("zeros", unreached(lengths(BASE, lambda step: float(step > 0)))),
        ],
        [
            Case("two branches begin at 0", some_begin_at_zero(2)),
            Case("branches begin at 0 and are reached", lengths(BASE, lambda s: float(s > 0))),
            Case("as usual", lengths(BASE, lambda step: 1.0)),
        ],
    ),
}
