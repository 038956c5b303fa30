from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.structure import LossRecord, ModuleRecord
from houndsight.debugger.testing import Case, Recording, healthy

Array = Any
HEALTHY = healthy(160)
ALWAYS = range(10_000)
LOSS = LossRecord(kind="cross_entropy", target_kind="indices", outputs=10)


def flagged(
    name: str,
    value: float,
    mode: Mode | None = None,
    *,
    since: int = 0,
    recording: Recording = HEALTHY,
) -> Recording:
    """With that flag set to `value`, and added where the forward has none of that name."""

    def edit(row: Row) -> Row:
        if row.group != Group.FLAGS or row.step < since or mode not in (None, row.mode):
            return row
        flags = dict(zip(row.names, row.values.tolist(), strict=True)) | {name: value}
        return replace(row, names=tuple(flags), values=np.array([*flags.values()], np.float32))

    return replace(recording, rows=tuple(edit(row) for row in recording.rows))


def logits(recording: Recording = HEALTHY, **values: float) -> Recording:
    for name, value in values.items():

        def change(v: Array, row: Row, value: float = value) -> Array:
            return v * 0 + value

        recording = recording.changed(Group.LOGITS, Statistic(name), change)
    return recording


def inputs(mean: float, std: float, low: float, high: float, mode: Mode | None = None) -> Recording:
    recording = HEALTHY
    for name, value in (("mean", mean), ("std", std), ("minimum", low), ("maximum", high)):

        def change(v: Array, row: Row, value: float = value) -> Array:
            return value + 1e-3 * abs(value) * np.arange(len(v))

        recording = recording.changed(Group.INPUTS, Statistic(name), change, mode=mode)
    return recording


def loss(recording: Recording = HEALTHY, **fields: Any) -> Recording:
    return recording.restructured(loss=replace(LOSS, **fields))


def losses(change: Callable[[Array, Row], Array], recording: Recording = HEALTHY) -> Recording:
    return recording.changed(Group.SCALARS, None, change, names=["loss"])


def labelled(change: Callable[[Array, Row], Array], recording: Recording = HEALTHY) -> Recording:
    return recording.changed(Group.LABELS, None, change)


def answered(
    change: Callable[[Array, Row], Array],
    recording: Recording = HEALTHY,
    mode: Mode | None = None,
) -> Recording:
    return recording.changed(Group.PREDICTIONS, None, change, mode=mode)


def marked(change: Callable[[Array, Row], Array], mode: Mode | None = None) -> Recording:
    return HEALTHY.changed(Group.EXAMPLES, None, change, mode=mode)


def module(kind: str, name: str, order: int = -1, **settings: Any) -> Recording:
    """With one more module, called first unless said otherwise."""
    modules = (
        *HEALTHY.structure.modules,
        ModuleRecord(name=name, kind=kind, order=order, settings=settings),
    )
    return HEALTHY.restructured(modules=modules)


def dropped(rate: float, order: int = -1) -> Recording:
    """With a Dropout in training mode."""
    made = module("Dropout", "drop", order, p=rate)
    return replace(made, rows=flagged("dropout_training", 1).rows)


def kept(recording: Recording, test: Callable[[Row], bool]) -> Recording:
    return replace(recording, rows=tuple(row for row in recording.rows if test(row)))


def _third_is_one(values: Any, row: Row) -> Any:
    return np.where(values % 3 == 0, 7, values % 500)


def _only_one(recording: Recording) -> Recording:
    """That photo, and no other, has the label 7."""
    rows = []
    marks = {
        row.forward: row.integers
        for row in recording.rows
        if row.group == Group.EXAMPLES and row.mode == Mode.TRAIN
    }
    for row in recording.rows:
        if row.group == Group.LABELS and row.mode == Mode.TRAIN:
            labels = np.where(row.integers == 7, 6, row.integers)
            row = replace(row, integers=np.where(marks[row.forward] == 7, 7, labels))
        rows.append(row)
    return replace(recording, rows=tuple(rows))


def _on_ground(recording: Recording) -> Recording:
    """Nearly all values are 0, some are 1."""
    for name, value in (("mean", 0.02), ("std", 0.14), ("minimum", 0.0), ("maximum", 1.0)):
        recording = recording.changed(
            Group.INPUTS, Statistic(name), lambda v, row, value=value: v * 0 + value
        )
    return recording


def _come_back(row: Row) -> Row:
    """Training photos are 500, which come again as they were."""
    if row.group != Group.EXAMPLES or row.mode != Mode.TRAIN or row.integers is None:
        return row
    return replace(row, integers=row.integers % 500)


def unnormed() -> Recording:
    modules = tuple(m for m in HEALTHY.structure.modules if "BatchNorm" not in m.kind)
    return HEALTHY.restructured(modules=modules)


def frozen() -> Recording:
    parameters = tuple(
        replace(p, trainable=p.module == "fc", group=0 if p.module == "fc" else None)
        for p in HEALTHY.structure.parameters
    )
    return flagged("training", 0, Mode.TRAIN).restructured(parameters=parameters)


def batchnorm(drift: float, ratio: float, *, steps: range = ALWAYS) -> Recording:
    recording = HEALTHY.changed(
        Group.BATCHNORM, Statistic.DRIFT, lambda v, row: v * 0 + drift, steps=steps
    )
    return recording.changed(
        Group.BATCHNORM, Statistic.VARIANCE_RATIO, lambda v, row: v * 0 + ratio, steps=steps
    )


def momentum(value: float | None, recording: Recording = HEALTHY) -> Recording:
    modules = tuple(
        replace(m, settings={**m.settings, "momentum": value}) if "BatchNorm" in m.kind else m
        for m in recording.structure.modules
    )
    return recording.restructured(modules=modules)


def outputs(ratio: float, mode: Mode | None = None) -> Recording:
    """What BatchNorm puts out is `ratio` times as large as scale and shift make it."""
    parameters = {p.name: p for p in HEALTHY.structure.parameters}
    sizes = {
        f"bn{i}": ratio * np.hypot(3.0, 0.3) / np.sqrt(parameters[f"bn{i}.weight"].shape[0])
        for i in (1, 2, 3)
    }
    recording = HEALTHY
    for name, size in sizes.items():

        def change(v: Array, row: Row, size: float = size) -> Array:
            return v * 0 + size

        recording = recording.changed(
            Group.ACTIVATIONS, Statistic.STD, change, names=[name], mode=mode
        )
    return recording


def memorised() -> Recording:
    """Training answers become right, those of evaluation are at random."""
    random = np.random.default_rng(1)
    return answered(lambda v, row: random.integers(0, 10, len(v)), mode=Mode.EVAL)


def renumbered() -> Recording:
    return HEALTHY.changed(Group.LABELS, None, lambda v, row: (v + 3) % 10, mode=Mode.EVAL)


def nothing_learnt(level: float = np.log(10)) -> Recording:
    random = np.random.default_rng(2)
    recording = answered(lambda v, row: random.integers(0, 10, len(v)))
    return losses(lambda v, row: v * 0 + level + 0.01 * random.normal(), recording)


def noisy(share: float) -> Recording:
    random = np.random.default_rng(3)

    def change(v: Array, row: Row) -> Array:
        wrong = random.random(len(v)) < share
        return np.where(wrong, random.uniform(3, 5, len(v)), random.uniform(0, 0.2, len(v)))

    return HEALTHY.changed(Group.LOSSES, None, change)


def one_answer(mode: Mode | None = None) -> Recording:
    recording = answered(lambda v, row: v * 0 + 3, mode=mode)
    return recording if mode else losses(lambda v, row: v * 0 + 2.3, recording)


def never(index: int) -> Recording:
    """One class is always taken for the next one; the others are right."""
    rows = []
    labels = {
        (row.mode, row.step, row.forward): row.integers
        for row in HEALTHY.rows
        if row.group == Group.LABELS
    }
    for row in HEALTHY.rows:
        if row.group == Group.PREDICTIONS:
            own = labels[(row.mode, row.step, row.forward)]
            assert own is not None
            row = replace(row, integers=np.where(own == index, (index + 1) % 10, own))
        rows.append(row)
    return replace(HEALTHY, rows=tuple(rows))


def shared(count: int) -> Recording:
    """In each batch of evaluation, `count` photos of the training batch of the same number."""
    trained = [row.integers for row in HEALTHY.rows if row.group == Group.EXAMPLES]

    def change(v: Array, row: Row) -> Array:
        known = trained[row.forward]
        assert known is not None
        return np.concatenate([known[:count], v[count:]])

    return marked(change, Mode.EVAL)


def fresh(change: Callable[[int, int], Array]) -> Recording:
    """Fingerprints by step and batch size."""
    return marked(lambda v, row: change(row.step, len(v)), Mode.TRAIN)


def in_rounds(batches: int) -> Recording:
    return fresh(lambda step, n: step % batches * n + np.arange(n))


def shuffled_rounds(batches: int, n: int = 32) -> Recording:
    random = np.random.default_rng(4)
    orders = [random.permutation(batches * n) for _ in range(40)]
    return fresh(
        lambda step, n: orders[step // batches][step % batches * n : (step % batches + 1) * n]
    )


def memory(change: Callable[[int], float]) -> Recording:
    return HEALTHY.changed(
        Group.SCALARS, None, lambda v, row: v * 0 + change(row.step), names=["memory_bytes"]
    )


def timed(seconds: Callable[[int], float]) -> Recording:
    times = np.cumsum([seconds(step) for step in range(200)])
    rows = tuple(replace(row, time=1e9 + float(times[row.step])) for row in HEALTHY.rows)
    return replace(HEALTHY, rows=rows)


def trained_forwards(size: int) -> Recording:
    groups = {Group.EXAMPLES, Group.LABELS, Group.PREDICTIONS}

    def edit(row: Row) -> Row:
        if row.group in groups and row.integers is not None:
            return replace(row, integers=row.integers[:size])
        return row

    return replace(HEALTHY, rows=tuple(edit(row) for row in HEALTHY.rows))


def sampled(name: str, statistic: Statistic, value: float, steps: range) -> Recording:
    return HEALTHY.changed(
        Group.ACTIVATIONS, statistic, lambda v, row: v * 0 + value, names=[name], steps=steps
    )


CASES: dict[str, tuple[list[Case], list[Case]]] = {
    "SoftmaxTwice": (
        [
            Case("softmax", flagged("inputs_softmaxed", 1)),
            Case("sigmoid", logits(minimum=0.01, maximum=0.98)),
            Case("relu", logits(minimum=0.0, maximum=6.0)),
        ],
        [
            Case("positive logits", logits(minimum=1.0, maximum=6.0)),
            Case("a head of zeros", logits(minimum=0.0, maximum=0.0)),
            Case("log-softmax", logits(minimum=-9.0, maximum=0.0)),
            Case("nll", loss(flagged("inputs_softmaxed", 1), kind="nll_loss")),
        ],
    ),
    "WrongLoss": (
        [
            Case("nll on logits", loss(losses(lambda v, row: -abs(v)), kind="nll_loss")),
            Case("nll above zero", loss(logits(maximum=4.0), kind="nll_loss")),
            Case("squares on rows", loss(kind="mse_loss", target_kind="probabilities")),
            Case("binary on numbers", loss(kind="binary_cross_entropy_with_logits", outputs=1)),
            Case("one output", loss(outputs=1)),
        ],
        [
            Case("nll on logarithms", loss(logits(maximum=-1e-4), kind="nll_loss")),
            Case("mixup", loss(target_kind="probabilities")),
            Case("regression", loss(kind="mse_loss", target_kind="values", outputs=1)),
            Case(
                "two classes",
                loss(
                    labelled(lambda v, row: v % 2),
                    kind="binary_cross_entropy_with_logits",
                    outputs=1,
                ),
            ),
        ],
    ),
    "HeadSize": (
        [
            Case("1,000 outputs", loss(outputs=1000)),
            Case("1,000 outputs, unsaid", loss(outputs=1000).restructured(classes=None)),
            Case("labels beyond", labelled(lambda v, row: v + 1).restructured(classes=None)),
            Case(
                "other classes",
                HEALTHY.changed(Group.LABELS, None, lambda v, row: v % 6).restructured(
                    classes=None
                ),
            ),
        ],
        [
            Case("as many as said", loss(outputs=10)),
            Case(
                "classes come in order",
                labelled(lambda v, row: v * 0 + row.step // 20).restructured(classes=None),
            ),
            Case(
                "a rare class",
                labelled(
                    lambda v, row: np.where((v == 9) & (np.arange(len(v)) > 5), 0, v)
                ).restructured(classes=None),
            ),
            Case("no classes", loss(kind="mse_loss", outputs=3)),
        ],
    ),
    "LabelsShuffled": (
        [
            Case("memorised", memorised()),
            Case("renumbered in evaluation", renumbered()),
            Case("nothing learnt", nothing_learnt()),
        ],
        [
            Case("twenty steps", kept(nothing_learnt(), lambda row: row.step < 20)),
            Case("above the entropy", nothing_learnt(3.0)),
            Case(
                "weights hardly move",
                nothing_learnt().changed(Group.UPDATES, None, lambda v, row: v * 1e-5),
            ),
            Case("one answer in evaluation", one_answer(Mode.EVAL)),
        ],
    ),
    "LabelsNoisy": (
        [Case("a tenth", noisy(0.1)), Case("a third", noisy(0.33))],
        [Case("none", noisy(0.0)), Case("one in a hundred", noisy(0.01))],
    ),
    "PreprocessingDiffers": (
        [
            Case("not normalised", inputs(0.45, 0.22, 0, 1, Mode.EVAL)),
            Case("up to 255", inputs(115, 58, 0, 255, Mode.EVAL)),
            Case("another mean", inputs(0.9, 1.0, -1, 3, Mode.EVAL)),
            Case(
                "values beyond training's",
                replace(
                    inputs(0, 1, -4, 4, Mode.EVAL),
                    rows=tuple(map(_come_back, inputs(0, 1, -4, 4, Mode.EVAL).rows)),
                ),
            ),
            Case(
                "red and blue",
                HEALTHY.changed(
                    Group.INPUTS,
                    Statistic.MEAN,
                    lambda v, row: np.array([0.5, 0.1, -0.4])[:: 1 if row.mode == "train" else -1],
                ),
            ),
        ],
        [
            Case("jitter and erasing", inputs(-0.2, 0.8, -2.4, 3.1, Mode.TRAIN)),
            Case("mixup", inputs(0, 0.7, -2, 2.2, Mode.TRAIN)),
            Case("wider than in augmented training", inputs(0, 1, -4, 4, Mode.EVAL)),
            Case("no evaluation", kept(HEALTHY, lambda row: row.mode == Mode.TRAIN)),
            Case(
                "eight photos",
                kept(
                    trained_forwards(1),
                    lambda row: row.mode == Mode.TRAIN or row.forward < 8,
                ),
            ),
        ],
    ),
    "InputsNotNormalised": (
        [
            Case("up to 255", inputs(115, 58, 0, 255)),
            Case("normalised without division", inputs(508, 255, -2, 1130)),
            Case("an offset", inputs(8, 1, 5, 10)),
            Case("0 to 1", inputs(0.45, 0.25, 0, 1)),
        ],
        [
            Case("sparse, 0 to 1", inputs(0.13, 0.31, 0, 1)),
            Case("from -1 to 1", inputs(-0.1, 0.5, -1, 1)),
            Case("photos darker than ImageNet's", inputs(-0.64, 1.67, -2.1, 2.6)),
        ],
    ),
    "InputsNormalisedTwice": (
        [
            Case("ImageNet", inputs(-2.0, 4.4, -10.8, 8.8)),
            Case("one half", inputs(-1.1, 0.8, -3, 1)),
            Case("its own", inputs(-0.81, 2.65, -2.96, 4.08)),
            Case("divided twice", inputs(0.0018, 0.0009, 0, 0.0039)),
            Case("divided twice, then normalised", inputs(-2.0, 0.004, -2.1, -1.99)),
        ],
        [
            Case("from -1 to 1", inputs(-0.1, 0.5, -1, 1)),
            Case("0 to 1", inputs(0.45, 0.25, 0, 1)),
            Case("photos darker than ImageNet's", inputs(-0.64, 1.67, -2.1, 2.6)),
            Case("strong jitter", inputs(-0.3, 1.6, -3.5, 4.1)),
        ],
    ),
    "ConstantInputs": (
        [
            Case("empty", inputs(0, 0, 0, 0)),
            Case("grey", inputs(0.5, 0, 0.5, 0.5)),
            Case("copies", marked(lambda v, row: v * 0 + v[0], Mode.TRAIN)),
            Case("one stands in for many", marked(_third_is_one, Mode.TRAIN)),
        ],
        [
            Case("drawn with replacement", marked(lambda v, row: v % 40, Mode.TRAIN)),
            Case("one is all of its class", _only_one(marked(_third_is_one, Mode.TRAIN))),
            Case("thin lines on a ground", _on_ground(marked(_third_is_one, Mode.TRAIN))),
            Case("little contrast", inputs(0.5, 0.01, 0.4, 0.6)),
        ],
    ),
    "TrainModeMissing": (
        [
            Case("from the start", flagged("training", 0, Mode.TRAIN)),
            Case("after the first evaluation", flagged("training", 0, Mode.TRAIN, since=40)),
            Case(
                "BatchNorm of no data",
                outputs(0.3).changed(
                    Group.FLAGS,
                    None,
                    lambda v, row: v * 0,
                    names=["batchnorm_training"],
                    mode=Mode.TRAIN,
                ),
            ),
        ],
        [
            Case(
                "BatchNorm frozen on purpose",
                flagged("batchnorm_training", 0, Mode.TRAIN, recording=outputs(1.1)),
            ),
            Case("a frozen backbone", frozen()),
            Case(
                "no layer that minds",
                replace(unnormed(), rows=flagged("training", 0, Mode.TRAIN).rows),
            ),
        ],
    ),
    "EvalModeMissing": (
        [
            Case(
                "BatchNorm",
                flagged("training", 1).changed(
                    Group.FLAGS, None, lambda v, row: v * 0 + 1, names=["batchnorm_training"]
                ),
            ),
        ],
        [
            Case("nothing that minds", flagged("training", 1, Mode.EVAL)),
            Case("Monte Carlo dropout", flagged("batchnorm_training", 1, Mode.EVAL)),
        ],
    ),
    "BatchNormSmallBatch": (
        [
            Case("two", trained_forwards(2)),
            Case("four", trained_forwards(4)),
            Case(
                "a single last one",
                HEALTHY.changed(
                    Group.EXAMPLES,
                    None,
                    lambda v, row: v[:1],
                    mode=Mode.TRAIN,
                    steps=range(39, 160, 40),
                ),
            ),
        ],
        [
            Case("eight", trained_forwards(8)),
            Case("no BatchNorm", replace(trained_forwards(2), structure=unnormed().structure)),
            Case(
                "frozen",
                trained_forwards(2).changed(
                    Group.FLAGS, None, lambda v, row: v * 0, names=["batchnorm_training"]
                ),
            ),
        ],
    ),
    "BatchNormDrift": (
        [
            Case("lags", momentum(0.001, batchnorm(2.0, 5.0))),
            Case("momentum turned round", momentum(0.99)),
            Case("evaluation", outputs(6.0, Mode.EVAL)),
        ],
        [
            Case("at the start", batchnorm(3.0, 9.0, steps=range(20))),
            Case("twenty steps", kept(batchnorm(3.0, 9.0), lambda row: row.step < 20)),
            Case("momentum 0.01", momentum(0.01)),
            Case("a plain average", momentum(None)),
        ],
    ),
    "ClassCollapse": (
        [
            Case("one answer", one_answer()),
            Case("in evaluation alone", answered(lambda v, row: v * 0 + 3, mode=Mode.EVAL)),
        ],
        [
            Case("at the start", kept(one_answer(), lambda row: row.step < 40)),
            Case(
                "the loss falls",
                answered(lambda v, row: v * 0 + 3 if row.step < 70 else v),
            ),
            Case(
                "one class is most",
                answered(
                    lambda v, row: np.where(np.arange(len(v)) < 28, 0, 1),
                    labelled(lambda v, row: np.where(np.arange(len(v)) < 26, 0, 1)),
                ).restructured(classes=2),
            ),
        ],
    ),
    "ClassNeverLearnt": (
        [Case("class 4", never(4)), Case("class 0", never(0))],
        [
            Case("three photos of it", labelled(lambda v, row: np.where(v == 4, 5, v), never(4))),
            Case("early", kept(never(4), lambda row: row.step < 30)),
        ],
    ),
    "SharedExamples": (
        [Case("half", shared(16)), Case("one a batch", shared(1)), Case("all", shared(32))],
        [Case("no evaluation", kept(shared(16), lambda row: row.mode == Mode.TRAIN))],
    ),
    "RepeatedBatches": (
        [
            Case("the same batch", fresh(lambda step, n: np.arange(n))),
            Case("in the same order", in_rounds(20)),
            Case("sorted by class", labelled(lambda v, row: v * 0 + row.step // 16)),
        ],
        [
            Case("shuffled", shuffled_rounds(20)),
            Case("two classes", labelled(lambda v, row: v % 2).restructured(classes=2)),
        ],
    ),
    "DataPartlySeen": (
        [
            Case("a fifth", in_rounds(10).restructured(facts={"train_examples": 1600})),
            Case("breaks off", HEALTHY.restructured(facts={"train_examples": 4000})),
        ],
        [
            Case("all", shuffled_rounds(20).restructured(facts={"train_examples": 640})),
            Case("augmented", HEALTHY.restructured(facts={"train_examples": 1200})),
        ],
    ),
    "RanksDisagree": (
        [
            Case(
                "weights",
                HEALTHY,
                ranks=(
                    HEALTHY.changed(
                        Group.PARAMETERS,
                        Statistic.NORM,
                        lambda v, row: v * 1.01,
                        steps=range(30, 1000),
                    ),
                ),
            ),
            Case("the same photos", HEALTHY, ranks=(HEALTHY,)),
            Case(
                "losses",
                HEALTHY,
                ranks=(losses(lambda v, row: v * 3, healthy(160, seed=1)),),
            ),
        ],
        [Case("shards", HEALTHY, ranks=(healthy(160, seed=1), healthy(160, seed=2)))],
    ),
    "MemoryGrowth": (
        [
            Case("1 MB a step", memory(lambda step: 5e8 + 1e6 * step)),
            Case("doubles", memory(lambda step: 5e8 + 1e7 * step)),
        ],
        [
            Case("levels off", memory(lambda step: 5e8 + 2e8 * (1 - np.exp(-step / 15)))),
            Case("goes up and down", memory(lambda step: 5e8 + 1e8 * (step % 20 > 10))),
            Case("a little", memory(lambda step: 5e8 + 1e4 * step)),
        ],
    ),
    "SlowSteps": (
        [
            Case("slower and slower", timed(lambda step: 0.02 * (1 + step / 20))),
            Case("two long ones", timed(lambda step: 5.0 if step in (50, 90) else 0.1)),
        ],
        [
            Case("busy for a while", timed(lambda step: 0.4 if 60 < step < 90 else 0.1)),
            Case("the first one", timed(lambda step: 0.9 if step == 0 else 0.1)),
        ],
    ),
    "DropoutTooStrong": (
        [
            Case("nine tenths", dropped(0.95)),
            Case("of the outputs", dropped(0.3, order=20)),
        ],
        [
            Case("one half", dropped(0.5)),
            Case("never on", module("Dropout", "drop", p=0.95)),
        ],
    ),
    "DeadFeatures": (
        [
            Case("zeros", sampled("relu3", Statistic.ZEROS, 1.0, range(30, 1000))),
            Case("no spread", sampled("relu2", Statistic.STD, 0.0, ALWAYS)),
            Case("one answer", answered(lambda v, row: v * 0 + 3, logits(row_sum_std=0.0))),
        ],
        [
            Case("for a while", sampled("relu3", Statistic.ZEROS, 1.0, range(30, 60))),
            Case("a head of zeros", logits(row_sum_std=0.0)),
            Case("sparse", sampled("relu3", Statistic.ZEROS, 0.95, ALWAYS)),
        ],
    ),
    "EvaluationTooSmall": (
        [
            Case("forty", kept(HEALTHY, lambda row: row.mode == "train" or row.forward % 4 == 0)),
        ],
        [Case("none", kept(HEALTHY, lambda row: row.mode == Mode.TRAIN))],
    ),
}
