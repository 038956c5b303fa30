"""The rules on what stands between photos and loss: layers, scales, functions, statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.structure import LossRecord, ModuleRecord
from houndsight.debugger.testing import Case, Recording, healthy
from rule_cases.cases_d import BASE, answers

LONG = healthy(160, evaluate_every=20, batch=64)


def beside_plain(network: float, plain: float, *, rising: bool = False) -> Recording:
    """Evaluations of a network beside what thumbnails tell."""

    def of(step: int) -> float:
        return network * min(1.0, step / 160) if rising else network

    made = answers(of, Mode.EVAL, LONG)
    rows = []
    for row in made.rows:
        if row.mode == Mode.EVAL and row.group == Group.SCALARS:
            values = row.values.copy()
            values[row.names.index("accuracy")] = of(row.step)
            names = (*row.names, "linear_accuracy", "neighbour_accuracy")
            both = np.array([plain, plain / 2], np.float32)
            row = replace(row, names=names, values=np.concatenate([values, both]))
        rows.append(row)
    return replace(made, rows=tuple(rows))


def loss_of(recording: Recording = BASE, /, **fields: Any) -> Recording:
    """Another loss."""
    assert recording.structure.loss is not None
    return recording.restructured(loss=replace(recording.structure.loss, **fields))


def beginning_at(loss: float, recording: Recording) -> Recording:
    """The first three losses."""
    return recording.changed(
        Group.SCALARS, None, lambda v, row: v * 0 + loss, names=["loss"], steps=range(3)
    )


def own_answers(share: float = 1.0) -> Recording:
    """So many of the labels are what the network answered."""
    said = {
        (row.step, row.forward): row.integers
        for row in BASE.rows
        if row.group == Group.PREDICTIONS and row.mode == Mode.TRAIN
    }

    def like(values: Any, row: Row) -> Any:
        own = np.random.default_rng(row.step).random(len(values)) < share
        answered = said[row.step, row.forward]
        assert answered is not None
        return np.where(own, answered, (answered + 1) % 10)

    return BASE.changed(Group.LABELS, None, like, mode=Mode.TRAIN)


def through(width: int, *, gate: bool = False, behind: bool = False) -> Recording:
    """A Linear layer of that width before the head, perhaps with a gate before or behind that."""
    *before, head = BASE.structure.modules
    added = [
        ModuleRecord(
            name="neck",
            kind="Linear",
            order=head.order,
            settings={"in_features": 64, "out_features": width},
        )
    ]
    if gate:
        added.append(ModuleRecord(name="gate", kind="Sigmoid", order=(head.order or 0) + 1))
    after = replace(
        head, order=(head.order or 0) + 2, settings={"in_features": width, "out_features": 10}
    )
    last = ModuleRecord(name="gate", kind="sigmoid()", order=(head.order or 0) + 3)
    return BASE.restructured(modules=(*before, *added, after, *([last] if behind else [])))


def cosines(scale: float) -> Recording:
    """The loss takes cosines times a scale, of features that the head makes."""
    *before, head = BASE.structure.modules
    made = beginning_at(9.0, loss_of(factor=scale, outputs=10))
    made = made.restructured(modules=(*before, replace(head, settings={"out_features": 64})))

    def within(values: Any, row: Row) -> Any:
        return np.clip(values, -0.4 * scale, 0.4 * scale)

    made = made.changed(Group.LOGITS, Statistic.MINIMUM, within)
    return made.changed(Group.LOGITS, Statistic.MAXIMUM, within)


def taught(recording: Recording) -> Recording:
    """A teacher's probabilities are the targets."""
    return recording.changed(
        Group.FLAGS, None, lambda v, row: v * 0 + 1, names=["targets_probabilities"]
    )


def rising(recording: Recording) -> Recording:
    """The loss climbs from the first step on."""
    return recording.changed(
        Group.SCALARS,
        None,
        lambda v, row: v * 0 + 2.3 + 0.02 * row.step,
        names=["loss"],
        mode=Mode.TRAIN,
    )


def written(evaluated: float, *, weights: float = 1.0, often: bool = True) -> Recording:
    """BatchNorm's figures are written to before evaluations, whose weights have other lengths."""
    made = answers(lambda step: evaluated, Mode.EVAL, LONG)
    made = answers(lambda step: 0.9, Mode.TRAIN, made)
    rows, seen = list(made.rows), set[int]()
    trained = {
        row.step: row
        for row in made.rows
        if row.group == Group.PARAMETERS and row.statistic == Statistic.NORM
    }
    for row in made.rows:
        if row.mode != Mode.EVAL or row.step in seen or row.group != Group.FLAGS:
            continue
        seen.add(row.step)
        flag = np.array([float(often or row.step < 100)], np.float32)
        rows.append(replace(row, names=("statistics_written",), values=flag))
        if row.step in trained:
            norms = trained[row.step]
            rows.append(
                replace(
                    norms,
                    mode=Mode.EVAL,
                    forward=row.forward,
                    values=norms.values * weights,
                    time=row.time,
                )
            )
    return replace(made, rows=tuple(rows))


def with_module(kind: str, **settings: Any) -> Recording:
    """One more module at the end."""
    added = ModuleRecord(name="added", kind=kind, order=90, settings=settings)
    return BASE.restructured(modules=(*BASE.structure.modules, added))


def squashed(*kinds: str) -> Recording:
    """Only these before the head, twice each, and the loss falls slowly."""
    head = next(m for m in BASE.structure.modules if m.name == BASE.structure.head)
    modules = [
        ModuleRecord(name=f"{kind}{i}", kind=kind, order=2 * place + i)
        for place, kind in enumerate(kinds)
        for i in range(2)
    ]
    made = BASE.restructured(modules=(*modules, replace(head, order=50)))
    return made.changed(
        Group.SCALARS, None, lambda v, row: v * 0 + 2.3 - 0.002 * row.step, names=["loss"]
    )


def interpolated(recording: Recording, *, falls: bool) -> Recording:
    """Every ten steps the weights go back by two and a half updates, as Lookahead takes them."""
    rows = list(recording.rows)
    for row in recording.rows:
        often = row.step % 10 == 0 and 0 < row.step < 64
        if row.group == Group.UPDATES and row.statistic == Statistic.RATIO and often:
            values = row.values * 2.5
            rows.append(replace(row, statistic=Statistic.BETWEEN, values=values))
    made = replace(recording, rows=tuple(rows))
    return made.changed(
        Group.SCALARS,
        None,
        lambda v, row: v * 0 + 2.3 - 0.01 * row.step * falls,
        names=["loss"],
        mode=Mode.TRAIN,
    )


STRANGERS = ((64, 32, 3, 3), (64,))
CASES: dict[str, tuple[list[Case], list[Case]]] = {
    "BaselineNotReached": (
        [Case("far below", beside_plain(0.2, 0.7))],
        [
            Case("a little below", beside_plain(0.6, 0.7)),
            Case("still rising", beside_plain(0.4, 0.7, rising=True)),
            Case("no thumbnails", BASE),
        ],
    ),
    "ParametersNotRegistered": (
        [Case("in a list", BASE.restructured(strangers=STRANGERS))],
        [Case("all registered", BASE)],
    ),
    "LayerTooNarrow": (
        [Case("one unit", through(1))],
        [
            Case("eight", through(8)),
            Case("an autoencoder", loss_of(through(1), kind="mse_loss", target_kind="values")),
            Case("squeezed to one, before a gate", through(1, behind=True)),
            Case("a gate", through(1, gate=True)),
            Case("two are drawn", through(2)),
            Case("none", BASE),
        ],
    ),
    "LogitsScaled": (
        [
            Case("a temperature of a hundred", loss_of(factor=0.01)),
            Case("of a hundredth", beginning_at(30.0, loss_of(factor=100.0))),
        ],
        [
            Case("none", loss_of(factor=1.0)),
            Case("cosines", loss_of(factor=30.0)),
            Case("cosines whose loss begins high", cosines(30.0)),
            Case("a teacher's at a temperature of 20", taught(loss_of(factor=0.05))),
            Case("not known", BASE),
            Case("another loss", loss_of(factor=0.01, kind="mse_loss")),
        ],
    ),
    "TargetsPredicted": (
        [Case("all", own_answers())],
        [
            Case("nearly all", own_answers(0.9)),
            Case("none", BASE),
            Case(
                "a trained network goes on with smoothed labels",
                beginning_at(0.9, loss_of(own_answers(), settings={"label_smoothing": 0.2})),
            ),
        ],
    ),
    "OwnBackward": (
        [
            Case("reversed", rising(BASE.restructured(own_functions=("GradientReversal",)))),
            Case("another", rising(BASE.restructured(own_functions=("Rounding",)))),
        ],
        [
            Case("it learns", BASE.restructured(own_functions=("GradientReversal",))),
            Case("PyTorch's only", rising(BASE)),
        ],
    ),
    "StatisticsOverwritten": (
        [Case("and evaluation suffers", written(0.2))],
        [
            Case("and evaluation does not", written(0.9)),
            Case("with other weights", written(0.2, weights=0.9)),
            Case("not any more", written(0.2, often=False)),
        ],
    ),
}
MORE: dict[str, tuple[list[Case], list[Case]]] = {
    "WrongLoss": (
        [
            Case(
                "the class's number",
                BASE.restructured(
                    loss=LossRecord(kind="mse_loss", target_kind="numbers", outputs=1)
                ),
            )
        ],
        [],
    ),
    "EvalModeMissing": (
        [Case("F.dropout", BASE.restructured(dropout_in_evaluation=0.3))],
        [Case("in training only", BASE.restructured(functional_dropout=0.3))],
    ),
    "DropoutTooStrong": (
        [Case("F.dropout", BASE.restructured(functional_dropout=0.95))],
        [Case("a DropBlock's scale", with_module("DropBlock", gamma_scale=1.0))],
    ),
    "HiddenSigmoid": (
        [Case("softmaxes", squashed("Softmax"))],
        [Case("attention's", squashed("Softmax", "LayerNorm"))],
    ),
    "WeightsOverwritten": (
        [Case("and the loss does not fall", interpolated(BASE, falls=False))],
        [Case("averaged with earlier ones", interpolated(BASE, falls=True))],
    ),
}
"""More cases of rules that have theirs elsewhere."""
