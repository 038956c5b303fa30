"""SageMaker Debugger's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.structure import ModuleRecord
from houndsight.debugger.testing import HEALTHY, Case, Recording, frozen, healthy

BASE = healthy()
LONG = healthy(300, evaluate_every=30, batch=64)


def _level(values: Any, row: Row) -> Any:
    """A loss that stays where it began."""
    return 2.3 + 0.1 * np.random.default_rng(row.step).normal(size=np.shape(values))


FLAT = BASE.changed(Group.SCALARS, None, _level, names=["loss"], mode=Mode.TRAIN)


def _gradients(recording: Recording, factor: float, steps: range | None = None) -> Recording:
    return recording.changed(
        Group.GRADIENTS, None, lambda v, r: factor * v, names=["conv1.weight"], steps=steps
    )


def _set(
    recording: Recording,
    group: Group,
    statistic: Statistic,
    value: float,
    names: list[str] | None = None,
    steps: range | None = None,
) -> Recording:
    return recording.changed(
        group, statistic, lambda v, r: np.full_like(v, value), names=names, steps=steps
    )


def _squashing(recording: Recording, kind: str = "Tanh") -> Recording:
    """The ReLUs become tanhs, and their inactive units saturated ones."""
    modules = tuple(
        replace(m, kind=kind) if m.kind == "ReLU" else m for m in recording.structure.modules
    )
    rows = tuple(
        replace(r, statistic=Statistic.SATURATED) if r.statistic == Statistic.INACTIVE else r
        for r in recording.rows
    )
    made = recording.restructured(modules=modules)
    return replace(made, rows=rows)


def _zeros(recording: Recording, group: Group, name: str) -> Recording:
    made = _set(recording, group, Statistic.ZEROS, 1.0, [name])
    return _set(made, group, Statistic.NORM, 0.0, [name])


def _still(recording: Recording, *, name: str = "fc.weight", outside: bool = False) -> Recording:
    """The weight stays as it is, in the optimizer or outside."""
    made = _set(recording, Group.PARAMETERS, Statistic.NORM, 3.0, [name])
    made = _set(made, Group.UPDATES, Statistic.RATIO, 0.0, [name])
    if not outside:
        return made
    parameters = tuple(
        replace(p, group=None) if p.name == name else p for p in made.structure.parameters
    )
    return made.restructured(parameters=parameters)


def _plain(recording: Recording) -> Recording:
    """Without normalisation."""
    modules = tuple(
        ModuleRecord(name=m.name, kind="Identity", order=m.order) if "Norm" in m.kind else m
        for m in recording.structure.modules
    )
    return recording.restructured(modules=modules)


def _overfitting(harmful: bool = True) -> Recording:
    """The validation loss rises after step 90, with the accuracy falling or not."""

    def rise(values: Any, row: Row) -> Any:
        return values * (1 + max(row.step - 90, 0) / 30)

    made = LONG.changed(Group.SCALARS, None, rise, names=["loss"], mode=Mode.EVAL)
    if not harmful:
        return made
    return made.changed(
        Group.SCALARS,
        None,
        lambda v, r: v - max(r.step - 90, 0) / 400,
        names=["accuracy"],
        mode=Mode.EVAL,
    )


def _finished(recording: Recording) -> Recording:
    """From step 60 on the training loss rests."""
    return recording.changed(
        Group.SCALARS,
        None,
        lambda v, r: np.full_like(v, 0.2) + 0.01 * np.sin(r.step),
        names=["loss"],
        mode=Mode.TRAIN,
        steps=range(60, 1000),
    )


def _imbalanced(*, learnt: bool) -> Recording:
    """Class 0 occurs 40 times as often as class 9, which is taken for it or not."""
    made = healthy(300, imbalance=40.0, evaluate_every=50)
    if learnt:
        return made
    return made.changed(Group.PREDICTIONS, None, lambda v, r: np.where(v >= 3, 0, v))


def _swapped(share: float) -> Recording:
    """That share of class 3 is taken for class 5 in evaluation."""
    made = healthy(200, batch=256, evaluate_every=50)
    labels = {r.forward: r.integers for r in made.rows if _is(r, Group.LABELS)}

    def swap(values: Any, row: Row) -> Any:
        random = np.random.default_rng(row.forward)
        taken = (labels[row.forward] == 3) & (random.random(len(values)) < share)
        return np.where(taken, 5, values)

    return made.changed(Group.PREDICTIONS, None, swap, mode=Mode.EVAL)


def _is(row: Row, group: Group) -> bool:
    return row.group == group and row.mode == Mode.EVAL


def _inputs(recording: Recording, scale: float, shift: float = 0.0) -> Recording:
    made = recording.changed(Group.INPUTS, Statistic.STD, lambda v, r: scale * v)
    for statistic in (Statistic.MEAN, Statistic.MINIMUM, Statistic.MAXIMUM):
        made = made.changed(Group.INPUTS, statistic, lambda v, r: scale * v + shift)
    return made


def _from_zero(recording: Recording) -> Recording:
    """A head that begins with zeros: great first steps, and no gradient behind it at first."""
    made = recording.changed(
        Group.UPDATES, None, lambda v, r: v + 1 / (r.step + 1), names=["fc.weight"]
    )
    made = made.changed(
        Group.PARAMETERS,
        Statistic.NORM,
        lambda v, r: v * min(r.step / 40, 1.0),
        names=["fc.weight"],
    )
    return made.changed(
        Group.GRADIENTS,
        Statistic.NORM,
        lambda v, r: v * min(r.step / 20, 1.0),
        names=["conv1.weight"],
    )


CASES: dict[str, tuple[list[Case], list[Case]]] = {
    "VanishingGradient": (
        [
            Case("first-layer", _gradients(FLAT, 1e-7)),
            Case("exactly-zero", _gradients(BASE, 0.0)),
            Case("later", _gradients(LONG, 1e-8, range(150, 300))),
            Case("documented", BASE, {"threshold": "0.1"}),
        ],
        [
            Case("bias-before-batchnorm", HEALTHY["conv-bias"]()),
            Case("bias-and-threshold", HEALTHY["conv-bias"](), {"threshold": "1e-7"}),
            Case("zero-at-first", _gradients(BASE, 0.0, range(8))),
            Case(
                "all-small-alike",
                _gradients(BASE, 1.0).changed(Group.GRADIENTS, None, lambda v, r: 1e-6 * v),
            ),
            Case("head-from-zero", _from_zero(BASE)),
        ],
    ),
    "ExplodingTensor": (
        [
            Case(
                "loss", _set(BASE, Group.SCALARS, Statistic.VALUE, np.nan, ["loss"], range(50, 120))
            ),
            Case(
                "parameter",
                _set(
                    BASE, Group.PARAMETERS, Statistic.NORM, np.inf, ["conv2.weight"], range(50, 120)
                ),
            ),
            Case(
                "gradient",
                _set(
                    BASE, Group.GRADIENTS, Statistic.NORM, np.inf, ["conv2.weight"], range(50, 60)
                ),
            ),
            Case("inputs", _set(BASE, Group.INPUTS, Statistic.MEAN, np.nan, ["1"], range(7, 8))),
            Case(
                "growth",
                BASE.changed(
                    Group.PARAMETERS,
                    Statistic.NORM,
                    lambda v, r: v * 1.1**r.step,
                    names=["conv2.weight"],
                ),
            ),
            Case(
                "only-nan",
                _set(BASE, Group.SCALARS, Statistic.VALUE, np.nan, ["loss"], range(50, 120)),
                {"only_nan": "true"},
            ),
            Case(
                "chosen",
                _set(BASE, Group.GRADIENTS, Statistic.NORM, np.nan, ["fc.weight"], range(50, 120)),
                {"tensor_regex": "gradient/Net_fc.*"},
            ),
        ],
        [
            Case(
                "infinity-but-only-nan",
                _set(BASE, Group.PARAMETERS, Statistic.NORM, np.inf, ["conv2.weight"]),
                {"only_nan": "True"},
            ),
            Case(
                "another-chosen",
                _set(BASE, Group.PARAMETERS, Statistic.NORM, np.inf, ["conv2.weight"]),
                {"collection_names": "losses"},
            ),
            Case("frozen", frozen(BASE)),
        ],
    ),
    "PoorWeightInitialization": (
        [
            Case(
                "constant",
                _set(
                    _set(BASE, Group.PARAMETERS, Statistic.MINIMUM, 0.1, ["conv2.weight"]),
                    Group.PARAMETERS,
                    Statistic.MAXIMUM,
                    0.1,
                    ["conv2.weight"],
                ),
            ),
            Case(
                "large",
                _plain(FLAT).changed(Group.PARAMETERS, Statistic.NORM, lambda v, r: 100 * v),
            ),
            Case(
                "small",
                _plain(FLAT).changed(Group.PARAMETERS, Statistic.NORM, lambda v, r: 0.01 * v),
            ),
            Case(
                "signals",
                FLAT.changed(
                    Group.ACTIVATIONS, Statistic.STD, lambda v, r: 1e-5 * v, names=["conv3"]
                ),
            ),
            Case(
                "documented-variance",
                BASE.changed(Group.ACTIVATIONS, Statistic.STD, lambda v, r: 5 * v, names=["conv3"]),
                {"threshold": "10"},
            ),
            Case(
                "documented-spread",
                BASE.changed(Group.GRADIENTS, None, lambda v, r: 0.01 * v),
                {"distribution_range": "0.001"},
            ),
            Case(
                "documented-patience",
                BASE.changed(Group.SCALARS, None, lambda v, r: v + r.step, names=["loss"]),
                {"patience": "5"},
            ),
        ],
        [
            Case(
                "large-but-normalised",
                BASE.changed(Group.PARAMETERS, Statistic.NORM, lambda v, r: 100 * v),
            ),
            Case("plain", _plain(BASE)),
            Case("head-from-zero", _from_zero(BASE)),
        ],
    ),
    "SaturatedActivation": (
        [
            Case("tanh", _squashing(_set(BASE, Group.ACTIVATIONS, Statistic.INACTIVE, 0.96))),
            Case("half", _squashing(_set(FLAT, Group.ACTIVATIONS, Statistic.INACTIVE, 0.6))),
            Case(
                "documented",
                _squashing(
                    BASE.changed(Group.ACTIVATIONS, None, lambda v, r: 100 * v, names=["bn1"])
                ),
                {"threshold_layer": "50"},
            ),
        ],
        [
            Case("healthy", _squashing(BASE)),
            Case(
                "half-and-learning",
                _squashing(_set(BASE, Group.ACTIVATIONS, Statistic.INACTIVE, 0.6)),
            ),
            Case("documented-healthy", _squashing(BASE), {"threshold_tanh_max": "9.4999"}),
        ],
    ),
    "DeadRelu": (
        [
            Case("nearly-all", _set(BASE, Group.ACTIVATIONS, Statistic.INACTIVE, 0.99, ["relu2"])),
            Case("half", _set(FLAT, Group.ACTIVATIONS, Statistic.INACTIVE, 0.7, ["relu2"])),
            Case(
                "documented",
                _set(BASE, Group.ACTIVATIONS, Statistic.INACTIVE, 0.3, ["relu2"]),
                {"threshold_layer": "20"},
            ),
        ],
        [
            Case("half-and-learning", _set(BASE, Group.ACTIVATIONS, Statistic.INACTIVE, 0.7)),
            Case(
                "for-a-moment",
                _set(FLAT, Group.ACTIVATIONS, Statistic.INACTIVE, 1.0, ["relu2"], range(5, 7)),
            ),
            Case("documented-healthy", BASE, {"threshold_layer": "50"}),
        ],
    ),
    "WeightUpdateRatio": (
        [
            Case("large", FLAT.changed(Group.UPDATES, None, lambda v, r: 100 * v)),
            Case(
                "huge",
                BASE.changed(Group.UPDATES, None, lambda v, r: 1000 * v, names=["conv1.weight"]),
            ),
            Case("small", FLAT.changed(Group.UPDATES, None, lambda v, r: 1e-7 * v)),
            Case("documented", BASE, {"large_threshold": "1e-4"}),
            Case("documented-small", BASE, {"small_threshold": "1", "num_steps": "10"}),
        ],
        [
            Case("large-and-learning", BASE.changed(Group.UPDATES, None, lambda v, r: 100 * v)),
            Case("head-from-zero", _from_zero(BASE)),
            Case("documented-healthy", BASE, {"large_threshold": "10", "small_threshold": "1e-8"}),
        ],
    ),
    "AllZero": (
        [
            Case("weights", _zeros(BASE, Group.PARAMETERS, "conv2.weight")),
            Case("gradient", _zeros(BASE, Group.GRADIENTS, "conv2.weight")),
            Case("output", _set(BASE, Group.ACTIVATIONS, Statistic.ZEROS, 1.0, ["relu2"])),
            Case("channel", _inputs(BASE, 0.0)),
            Case(
                "documented",
                _set(BASE, Group.ACTIVATIONS, Statistic.ZEROS, 0.6, ["relu2"]),
                {"threshold": "50", "collection_names": "activations"},
            ),
        ],
        [
            Case("head-from-zero", _from_zero(BASE)),
            Case("sample-only", _set(BASE, Group.GRADIENTS, Statistic.ZEROS, 1.0)),
            Case("relu", _set(BASE, Group.ACTIVATIONS, Statistic.ZEROS, 0.7)),
            Case("documented-healthy", BASE, {"collection_names": "all"}),
        ],
    ),
    "TensorVariance": (
        [
            Case(
                "collapse",
                BASE.changed(
                    Group.PARAMETERS,
                    Statistic.STD,
                    lambda v, r: v * 0.85**r.step,
                    names=["conv2.weight"],
                ),
            ),
            Case(
                "burst",
                BASE.changed(
                    Group.PARAMETERS,
                    Statistic.STD,
                    lambda v, r: v * 1.1**r.step,
                    names=["conv2.weight"],
                ),
            ),
            Case("documented", BASE, {"max_threshold": "1e-6", "collection_names": "weights"}),
        ],
        [
            Case(
                "shrinking",
                BASE.changed(Group.PARAMETERS, Statistic.STD, lambda v, r: v * 0.98**r.step),
            ),
            Case(
                "documented-healthy",
                BASE,
                {"max_threshold": "10", "min_threshold": "1e-6", "collection_names": "weights"},
            ),
        ],
    ),
    "UnchangedTensor": (
        [
            Case("weights", _still(BASE)),
            Case("loss", _set(BASE, Group.SCALARS, Statistic.VALUE, 2.3, ["loss"])),
            Case(
                "documented",
                _set(BASE, Group.SCALARS, Statistic.VALUE, 2.3, ["loss"], range(10, 14)),
                {"num_steps": "3"},
            ),
        ],
        [
            Case("frozen", frozen(_still(BASE, name="conv2.weight"))),
            Case("outside-the-optimizer", _still(BASE, outside=True)),
            Case("loss-at-0", _set(BASE, Group.SCALARS, Statistic.VALUE, 1e-7, ["loss"])),
            Case("documented-healthy", BASE, {"num_steps": "3"}),
        ],
    ),
    "LossNotDecreasing": (
        [
            Case("flat", FLAT),
            Case(
                "rising",
                BASE.changed(Group.SCALARS, None, lambda v, r: v + r.step / 10, names=["loss"]),
            ),
            Case(
                "fell-and-rose",
                LONG.changed(
                    Group.SCALARS,
                    None,
                    lambda v, r: v + 3 * (r.step > 200),
                    names=["loss"],
                    mode=Mode.TRAIN,
                ),
            ),
            Case("documented", FLAT, {"diff_percent": "0.1"}),
            Case(
                "documented-evaluation",
                LONG.changed(
                    Group.SCALARS,
                    None,
                    lambda v, r: np.full_like(v, 2.0),
                    names=["loss"],
                    mode=Mode.EVAL,
                ),
                {"mode": "EVAL", "num_steps": "30"},
            ),
        ],
        [
            Case(
                "slow-but-falling",
                BASE.changed(
                    Group.SCALARS, None, lambda v, r: 6.9 - 0.002 * r.step + 0.0 * v, names=["loss"]
                ),
            ),
            Case(
                "spike",
                BASE.changed(
                    Group.SCALARS, None, lambda v, r: 5 * v, names=["loss"], steps=range(60, 63)
                ),
            ),
            Case("noisy", HEALTHY["noisy"]()),
            Case(
                "documented-falling",
                BASE.changed(
                    Group.SCALARS, None, lambda v, r: 10 - r.step / 20 + 0.0 * v, names=["loss"]
                ),
                {"diff_percent": "1", "num_steps": "10"},
            ),
        ],
    ),
    "Overfit": (
        [
            Case("by-heart", _overfitting()),
            Case("loss-alone", _overfitting(harmful=False)),
            Case(
                "documented",
                LONG.changed(
                    Group.SCALARS, None, lambda v, r: 2 * v, names=["loss"], mode=Mode.EVAL
                ),
                {"ratio_threshold": "0.1"},
            ),
        ],
        [
            Case(
                "constant-gap",
                LONG.changed(
                    Group.SCALARS, None, lambda v, r: 2 * v, names=["loss"], mode=Mode.EVAL
                ),
            ),
            Case("documented-healthy", LONG, {"ratio_threshold": "0.5"}),
        ],
    ),
    "Overtraining": (
        [
            Case("harmful", _finished(_overfitting())),
            Case("lost-time", _finished(_overfitting(harmful=False))),
            Case(
                "documented",
                _finished(_overfitting()),
                {"patience_train": "5", "patience_validation": "3"},
            ),
        ],
        [
            Case("still-improving", LONG),
            Case("lost-time-is-a-remark", _finished(_overfitting(harmful=False))),
            Case("documented-healthy", LONG, {"patience_validation": "9"}),
        ],
    ),
    "ClassImbalance": (
        [
            Case("forgotten", _imbalanced(learnt=False)),
            Case("remark", _imbalanced(learnt=True)),
            Case("documented", healthy(200, imbalance=5.0), {"threshold_imbalance": "3"}),
            Case(
                "documented-errors", _imbalanced(learnt=False), {"threshold_misprediction": "0.7"}
            ),
        ],
        [
            Case("five-to-one", healthy(300, imbalance=5.0)),
            Case("learnt-all-the-same", _imbalanced(learnt=True)),
            Case("many-classes", HEALTHY["thousand-classes"]()),
            Case("documented-healthy", BASE, {"threshold_imbalance": "10"}),
        ],
    ),
    "Confusion": (
        [
            Case("swapped", _swapped(0.95)),
            Case("often", _swapped(0.6)),
            Case("documented", _swapped(0.3), {"max_off_diag": "0.1"}),
        ],
        [
            Case("often-is-a-remark", _swapped(0.6)),
            Case("sometimes", _swapped(0.2)),
            Case("documented-healthy", BASE, {"min_diag": "0.1", "max_off_diag": "0.8"}),
        ],
    ),
    "CheckInputImages": (
        [
            Case("bytes", _inputs(frozen(BASE), 60, 120)),
            Case("divided-twice", _inputs(BASE, 0.004)),
            Case("normalised-twice", _inputs(BASE, 4.4, -2.1)),
            Case("dark", _inputs(BASE, 0.3, -1.5)),
            Case("documented", _inputs(BASE, 1.0, 0.5), {"threshold_mean": "0.2"}),
        ],
        [
            Case("zero-to-one", _inputs(BASE, 0.2, 0.4)),
            Case("dark-is-a-remark", _inputs(BASE, 0.3, -1.5)),
            Case("bytes-before-batchnorm", _inputs(BASE, 60, 120)),
            Case("documented-healthy", BASE, {"threshold_mean": "0.2"}),
        ],
    ),
    "SimilarAcrossRuns": (
        [
            Case(
                "other-seed", BASE, {"other_trials": "before"}, others={"before": healthy(seed=9)}
            ),
            Case(
                "weights",
                BASE,
                {"other_trials": "before", "collection_names": "weights"},
                others={"before": BASE.changed(Group.PARAMETERS, None, lambda v, r: 1.1 * v)},
            ),
        ],
        [
            Case("itself", BASE, {"other_trials": "before"}, others={"before": BASE}),
            Case("nothing-to-compare", BASE),
        ],
    ),
    "StalledTrainingRule": (
        [
            Case("half-an-hour", BASE, waited=1900, ended=False),
            Case(
                "documented",
                BASE,
                {"threshold": "60", "stop_training_on_fire": "True"},
                waited=61,
                ended=False,
            ),
        ],
        [
            Case("ended", BASE, waited=1e6),
            Case("a-minute", BASE, waited=60, ended=False),
            Case("documented-in-time", BASE, {"threshold": "60"}, waited=59, ended=False),
        ],
    ),
}
