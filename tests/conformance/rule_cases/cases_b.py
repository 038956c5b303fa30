"""The rules on optimisation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.structure import OptimizerRecord, ParameterRecord
from houndsight.debugger.testing import Case, Recording, frozen, healthy

BASE = healthy()
ADAM = healthy(optimizer="Adam", rate=1e-3)
SHORT = healthy(20)
SMALL_BATCHES = healthy(400, batch=2, classes=4)
TRAIN = Mode.TRAIN


def _scalar(recording: Recording, name: str, values: Any, steps: range | None = None) -> Recording:
    """`values(step)` for a scalar of training."""
    return recording.changed(
        Group.SCALARS,
        None,
        lambda v, row: np.full_like(v, values(row.step)),
        names=[name],
        mode=TRAIN,
        steps=steps,
    )


def _scaled(recording: Recording, group: Group, factor: float, **chosen: Any) -> Recording:
    return recording.changed(group, None, lambda v, row: v * factor, mode=TRAIN, **chosen)


def _set(recording: Recording, group: Group, statistic: Statistic, value: float) -> Recording:
    return recording.changed(group, statistic, lambda v, row: np.full_like(v, value), mode=TRAIN)


def _flag(recording: Recording, name: str, value: Any) -> Recording:
    return recording.changed(
        Group.FLAGS, None, lambda v, row: np.full_like(v, value(row)), names=[name], mode=TRAIN
    )


def _with(recording: Recording, group: Group, name: str, value: Any) -> Recording:
    """With one more scalar or flag of training."""

    def widen(row: Row) -> Row:
        if row.group != group or row.mode != TRAIN:
            return row
        values = np.append(row.values, np.float32(value(row.step)))
        return replace(row, names=(*row.names, name), values=values)

    return replace(recording, rows=tuple(widen(row) for row in recording.rows))


def _optimizer(recording: Recording, **settings: Any) -> Recording:
    old = recording.structure.optimizer
    assert old is not None
    return recording.restructured(
        optimizer=OptimizerRecord(kind=old.kind, groups=(dict(old.groups[0]) | settings,))
    )


def _parameters(recording: Recording, changes: dict[str, dict[str, Any]]) -> Recording:
    def change(parameter: ParameterRecord) -> ParameterRecord:
        chosen = {k: v for k, v in changes.items() if parameter.name.startswith(k)}
        return replace(parameter, **{f: x for fields in chosen.values() for f, x in fields.items()})

    return recording.restructured(
        parameters=tuple(change(p) for p in recording.structure.parameters)
    )


def _drawn(recording: Recording, trained: tuple[str, ...] = ()) -> Recording:
    """All parameters as long as a random draw makes them, but those trained before."""

    def length(name: str) -> float:
        parameter = recording.structure.parameter(name)
        assert parameter is not None
        size = math.prod(parameter.shape)
        factor = 1.25 if name.startswith(trained or ("-",)) else 1.0
        if len(parameter.shape) > 1:
            return factor * math.sqrt(size / (3 * math.prod(parameter.shape[1:])))
        scale = name.startswith("bn") and name.endswith("weight")
        return math.sqrt(size) * factor if scale else 0.1 * (factor - 1)

    return recording.changed(
        Group.PARAMETERS,
        Statistic.NORM,
        lambda v, row: np.array([length(name) for name in row.names]),
    )


LEVEL = 2.3
LAYERS = ("conv", "bn")

BLOWN = _scaled(_scalar(BASE, "loss", lambda s: 2.3 + 80 * s / (5 + s)), Group.UPDATES, 200)
STUCK = _scaled(
    _scalar(BASE, "loss", lambda s: LEVEL + 0.01 * math.sin(7 * s)),
    Group.UPDATES,
    100,
    steps=range(15),
)
TURNED = _scaled(_scalar(BASE, "loss", lambda s: 0.3 + abs(s - 60) / 30), Group.UPDATES, 5)
BUMP = _scaled(
    _scalar(BASE, "loss", lambda s: 3.6 if s in range(3, 7) else 2.3 * math.exp(-s / 20)),
    Group.UPDATES,
    5,
    steps=range(6),
)
SLOW = _scaled(_scalar(BASE, "loss", lambda s: 2.3 - 5e-4 * s), Group.UPDATES, 1e-3)
SPIKED = _scalar(BASE, "loss", lambda s: 40.0, steps=range(80, 84))
JUMPED = _scaled(SPIKED, Group.UPDATES, 30, steps=range(79, 84))
RAISED = _scalar(SPIKED, "learning_rate", lambda s: 0.5, steps=range(79, 84))
ONE_HARD = _scalar(
    _scalar(BASE, "loss", lambda s: 0.002), "loss", lambda s: 0.3, steps=range(90, 91)
)
TIGHT = _scaled(_scalar(BASE, "gradient_norm", lambda s: 1e-3), Group.UPDATES, 0.01)
BACKBONE = _parameters(BASE, {layer: {"trainable": False} for layer in LAYERS})
HEAD_ALONE = _parameters(BASE, {layer: {"group": None} for layer in LAYERS})
MISSPELT = _parameters(BASE, {layer: {"misspelt": "require_grad=False"} for layer in LAYERS})
FINE_TUNED = _drawn(BASE, LAYERS)
STILL = _drawn(BASE)
"""All weights keep their length."""
NOISY = _scalar(SMALL_BATCHES, "loss", lambda s: 1.4 + 0.6 * np.random.default_rng(s).normal())
DECAYED = _scaled(_optimizer(ADAM, weight_decay=10.0), Group.GRADIENTS, 1.0)


def _micro(recording: Recording, kept: float) -> Recording:
    """Two micro-batches a step."""
    twice: list[Row] = []
    for row in recording.rows:
        if row.mode != TRAIN:
            twice.append(row)
            continue
        twice.append(replace(row, forward=2 * row.forward))
        if row.group == Group.FLAGS:
            names, values = (*row.names, "kept_gradients"), np.append(row.values, np.float32(kept))
            twice[-1] = replace(
                twice[-1], names=names, values=np.append(row.values, np.float32(0.0))
            )
            twice.append(replace(row, forward=2 * row.forward + 1, names=names, values=values))
    return _scalar(replace(recording, rows=tuple(twice)), "micro_batches", lambda s: 2.0)


CASES: dict[str, tuple[list[Case], list[Case]]] = {
    "LearningRateTooHigh": (
        [
            Case("blown-up", BLOWN),
            Case("blown-up-without-updates", BLOWN.without(Group.UPDATES)),
            Case("stuck", STUCK),
            Case("turned", TURNED),
            Case("large-steps", _scaled(BASE, Group.UPDATES, 200)),
            Case(
                "adam",
                _scaled(_scalar(ADAM, "loss", lambda s: 50.0, range(5, 40)), Group.UPDATES, 100),
            ),
            Case("live", BLOWN, ended=False),
        ],
        [
            Case("passing-bump", BUMP),
            Case("large-steps-of-a-head", _scaled(frozen(BASE), Group.UPDATES, 100)),
            Case("rise-by-tiny-steps", _scaled(BLOWN, Group.UPDATES, 1e-4)),
            Case("near-zero", _scalar(BASE, "loss", lambda s: 1e-4 * (1 + s % 7))),
            Case("short", SHORT),
        ],
    ),
    "LearningRateTooLow": (
        [
            Case("sgd", SLOW),
            Case(
                "adam-with-large-epsilon",
                _optimizer(
                    _scaled(_scalar(ADAM, "loss", lambda s: LEVEL), Group.UPDATES, 1e-3), eps=1.0
                ),
            ),
            Case("clipped", _scalar(SLOW, "gradient_norm", lambda s: 1e-3)),
        ],
        [
            Case("it-learns-all-the-same", _scaled(BASE, Group.UPDATES, 1e-2)),
            Case(
                "end-of-a-schedule",
                _scaled(
                    _scalar(BASE, "learning_rate", lambda s: 0.05 if s < 60 else 1e-6),
                    Group.UPDATES,
                    1e-4,
                    steps=range(60, 120),
                ),
            ),
            Case("knew-before", _scalar(SLOW, "loss", lambda s: 0.05)),
            Case("warm-up", _scalar(SLOW, "learning_rate", lambda s: 1e-6 * 1.1**s)),
            Case("twenty-steps", _scaled(SHORT, Group.UPDATES, 1e-3)),
        ],
    ),
    "LossNotFinite": (
        [
            Case("nan", _scalar(BASE, "loss", lambda s: math.nan, range(50, 120))),
            Case("infinite", _scalar(BASE, "loss", lambda s: math.inf, range(50, 120))),
            Case("from-the-start", _scalar(BASE, "loss", lambda s: math.nan)),
            Case("after-a-rise", _scalar(BLOWN, "loss", lambda s: math.nan, range(50, 120))),
            Case("one-batch", _scalar(BASE, "loss", lambda s: math.nan, range(50, 51))),
            Case(
                "weights",
                _scalar(BASE, "loss", lambda s: math.nan, range(60, 120)).changed(
                    Group.PARAMETERS,
                    Statistic.NORM,
                    lambda v, r: v * math.nan,
                    names=["fc.weight"],
                    steps=range(50, 120),
                ),
            ),
            Case(
                "inputs",
                _scalar(BASE, "loss", lambda s: math.nan, range(50, 120)).changed(
                    Group.INPUTS, None, lambda v, r: v * math.nan, steps=range(50, 51)
                ),
            ),
            Case(
                "evaluation",
                BASE.changed(
                    Group.SCALARS, None, lambda v, r: v * math.nan, names=["loss"], mode=Mode.EVAL
                ),
            ),
        ],
        [
            Case("very-large", _scalar(BASE, "loss", lambda s: 1e30)),
            Case(
                "gradients-skipped-by-a-scaler",
                _scalar(BASE, "gradient_norm", lambda s: math.inf, range(3)),
            ),
        ],
    ),
    "LossSpike": (
        [
            Case("spike", SPIKED),
            Case("after-large-steps", JUMPED),
            Case("schedule", RAISED),
            Case("for-good", _scalar(BASE, "loss", lambda s: 12.0, range(80, 120))),
            Case(
                "odd-batch",
                SPIKED.changed(
                    Group.INPUTS, Statistic.STD, lambda v, r: v * 30, steps=range(80, 84)
                ),
            ),
        ],
        [
            Case("one-hard-photo-near-zero", ONE_HARD),
            Case("at-the-start", _scalar(BASE, "loss", lambda s: 12.0, range(5, 8))),
            Case(
                "noise", _scalar(BASE, "loss", lambda s: np.random.default_rng(s).lognormal(0, 0.6))
            ),
        ],
    ),
    "InitialLoss": (
        [
            Case("large", _scalar(BASE, "loss", lambda s: 9.0, range(1))),
            Case("few-classes", _scalar(healthy(classes=2), "loss", lambda s: 5.0, range(1))),
            Case(
                "large-inputs",
                _set(
                    _scalar(BASE, "loss", lambda s: 90.0, range(3)), Group.INPUTS, Statistic.STD, 70
                ),
            ),
            Case("knows-already", _scalar(BASE, "loss", lambda s: 0.01, range(1))),
            Case("negative", _scalar(BASE, "loss", lambda s: -2.0)),
        ],
        [
            Case("thousand-classes", healthy(classes=1000)),
            Case("recovers", _scalar(BASE, "loss", lambda s: 4.0 - s if s < 2 else 2.0)),
            Case("one-logit-off", _scalar(BASE, "loss", lambda s: 3.4, range(1))),
            Case("continued", _scalar(BASE, "loss", lambda s: 0.3)),
            Case("another-loss", _scalar(BASE.restructured(loss=None), "loss", lambda s: 99.0)),
        ],
    ),
    "GradientNoise": (
        [
            Case("two-examples", NOISY),
            Case("rising", _scalar(NOISY, "loss", lambda s: 1.4 + s / 800)),
        ],
        [
            Case("two-examples-that-learn", SMALL_BATCHES),
            Case("still-frozen", _scaled(NOISY, Group.UPDATES, 1e-3)),
            Case("large-batch", _scalar(healthy(400), "loss", lambda s: LEVEL)),
            Case("accumulated", _scalar(NOISY, "micro_batches", lambda s: 16.0)),
            Case("slow-but-falling", _scalar(NOISY, "loss", lambda s: 1.5 - s / 2000)),
        ],
    ),
    "ParametersNotInOptimizer": (
        [
            Case("head", _parameters(BASE, {"fc": {"group": None}})),
            Case("layer", _parameters(BASE, {"conv2": {"group": None}})),
            Case("all", _parameters(BASE, {layer: {"group": None} for layer in ("fc", *LAYERS)})),
            Case("untrained-backbone", _drawn(HEAD_ALONE)),
        ],
        [
            Case("frozen", frozen(BASE)),
            Case(
                "frozen-and-left-out",
                _parameters(BASE, {layer: {"group": None, "trainable": False} for layer in LAYERS}),
            ),
            Case("trained-backbone-left-out", _drawn(HEAD_ALONE, LAYERS)),
            Case(
                "shared",
                _parameters(BASE, {"conv1": {"group": None, "shared_with": ("conv2.weight",)}}),
            ),
            Case(
                "never-called",
                _parameters(BASE, {"conv3": {"group": None}}).restructured(
                    modules=tuple(
                        replace(m, order=None) if m.name == "conv3" else m
                        for m in BASE.structure.modules
                    )
                ),
            ),
        ],
    ),
    "ParametersNotUpdated": (
        [
            Case(
                "layer",
                STILL.changed(Group.UPDATES, None, lambda v, r: v * 0, names=["conv2.weight"]),
            ),
            Case("all", _scaled(STILL, Group.UPDATES, 0.0)),
            Case(
                "rate-of-zero",
                _scalar(_scaled(STILL, Group.UPDATES, 0.0), "learning_rate", lambda s: 0.0),
            ),
            Case(
                "no-gradient",
                replace(
                    STILL,
                    rows=tuple(
                        replace(r, names=r.names[1:], values=r.values[1:])
                        if r.group == Group.GRADIENTS
                        else r
                        for r in STILL.rows
                    ),
                ).changed(Group.UPDATES, None, lambda v, r: v * 0, names=["conv1.weight"]),
            ),
            Case(
                "zero-gradient",
                _scaled(STILL, Group.GRADIENTS, 0.0, names=["conv1.weight"]).changed(
                    Group.UPDATES, None, lambda v, r: v * 0, names=["conv1.weight"]
                ),
            ),
        ],
        [
            Case(
                "frozen",
                BACKBONE.changed(
                    Group.UPDATES, None, lambda v, r: v * 0, names=["conv1.weight", "conv2.weight"]
                ),
            ),
            Case("first-steps", _scaled(STILL, Group.UPDATES, 0.0, steps=range(8))),
            Case("tiny-but-moving", _scaled(STILL, Group.UPDATES, 1e-6)),
        ],
    ),
    "ZeroGradMissing": (
        [
            Case("always", _flag(BASE, "stale_gradients", lambda r: 1.0)),
            Case("each-fourth-step", _flag(BASE, "stale_gradients", lambda r: r.step % 4 == 3)),
        ],
        [
            Case("left-over-at-the-start", _flag(BASE, "stale_gradients", lambda r: r.step < 1)),
            Case("after-a-pause", _flag(BASE, "stale_gradients", lambda r: r.step in (40, 80))),
            Case("accumulation", _micro(BASE, 1.0)),
        ],
    ),
    "DroppedSteps": (
        [
            Case("zeroed-between-micro-batches", _micro(BASE, 0.0)),
            Case("steps-without-backward", _scalar(BASE, "micro_batches", lambda s: s % 2)),
        ],
        [
            Case("accumulation", _micro(BASE, 1.0)),
            Case("once-a-while", _scalar(BASE, "micro_batches", lambda s: float(s % 40 != 39))),
            Case(
                "scaler-at-the-start",
                _with(
                    _scalar(BASE, "micro_batches", lambda s: 1.0 + (s == 0) * 5),
                    Group.SCALARS,
                    "loss_scale",
                    lambda s: 2048.0,
                ),
            ),
        ],
    ),
    "WeightDecayScale": (
        [
            Case("sgd", _optimizer(BASE, weight_decay=0.5)),
            Case("adam", DECAYED),
            Case(
                "adamw",
                _optimizer(ADAM, weight_decay=50.0).restructured(
                    optimizer=OptimizerRecord(
                        kind="AdamW",
                        groups=(
                            {"lr": 1e-3, "weight_decay": 50.0, "betas": (0.9, 0.999), "eps": 1e-8},
                        ),
                    )
                ),
            ),
        ],
        [
            Case(
                "adamw-usual",
                ADAM.restructured(
                    optimizer=OptimizerRecord(
                        kind="AdamW", groups=({"lr": 1e-3, "weight_decay": 0.05, "eps": 1e-8},)
                    )
                ),
            ),
            Case("none", _optimizer(BASE, weight_decay=0.0)),
            Case("rate-is-to-blame", _scalar(BASE, "learning_rate", lambda s: 50.0)),
            Case(
                "gradients-vanish-at-the-end",
                _scaled(
                    _optimizer(ADAM, weight_decay=1e-4), Group.GRADIENTS, 1e-6, steps=range(60, 120)
                ),
            ),
        ],
    ),
    "MomentumOutOfRange": (
        [
            Case("sgd", _optimizer(BASE, momentum=0.9999)),
            Case("one", _optimizer(BASE, momentum=1.0)),
            Case("negative", _optimizer(BASE, momentum=-0.5)),
            Case("dampened", _optimizer(BASE, dampening=1.0)),
            Case("beta1", _optimizer(ADAM, betas=(0.999, 0.9999))),
            Case("beta2", _optimizer(ADAM, betas=(0.9, 0.1))),
            Case("swapped", _optimizer(ADAM, betas=(0.999, 0.9))),
        ],
        [
            Case("none", _optimizer(BASE, momentum=0.0)),
            Case("high-but-usual", _optimizer(BASE, momentum=0.99)),
            Case("an average", _optimizer(BASE, dampening=0.9)),
            Case("transformer", _optimizer(ADAM, betas=(0.9, 0.95))),
        ],
    ),
    "EpsilonOutOfRange": (
        [
            Case("large", _optimizer(_scaled(ADAM, Group.UPDATES, 0.01), eps=1.0)),
            Case("large-with-large-rate", _optimizer(ADAM, eps=0.1)),
            Case("zero", _optimizer(ADAM, eps=0.0)),
        ],
        [
            Case("moderate", _optimizer(ADAM, eps=1e-4)),
            Case(
                "gradients-vanish-at-the-end",
                _optimizer(_scaled(ADAM, Group.OPTIMIZER, 1e-12, steps=range(60, 120)), eps=1e-6),
            ),
            Case("autocast", ADAM.restructured(precision="float16")),
        ],
    ),
    "GradientClippingTooTight": (
        [
            Case("sgd", TIGHT),
            Case(
                "adam", _scaled(_scalar(ADAM, "gradient_norm", lambda s: 1e-3), Group.UPDATES, 0.01)
            ),
        ],
        [
            Case("always-clipped-but-learns", _scalar(BASE, "gradient_norm", lambda s: 1.0)),
            Case(
                "small-steps-not-clipped",
                _scaled(
                    _scalar(BASE, "gradient_norm", lambda s: 1.0 + s / 50), Group.UPDATES, 0.01
                ),
            ),
        ],
    ),
    "MixedPrecisionOverflow": (
        [
            Case(
                "to-nothing",
                _with(BASE, Group.SCALARS, "loss_scale", lambda s: 65536.0 * 0.5 ** (s // 4)),
            ),
            Case(
                "again-and-again",
                _with(BASE, Group.SCALARS, "loss_scale", lambda s: 65536.0 * 0.5 ** (s // 12)),
            ),
        ],
        [
            Case(
                "finds-its-scale",
                _with(BASE, Group.SCALARS, "loss_scale", lambda s: 65536.0 * 0.5 ** min(s, 8)),
            ),
            Case(
                "tries-a-larger-one",
                _with(
                    BASE, Group.SCALARS, "loss_scale", lambda s: 65536.0 * (2 if 50 < s < 60 else 1)
                ),
            ),
            Case("no-scaler", BASE),
        ],
    ),
    "BackboneFrozen": (
        [
            Case("untrained", _drawn(BACKBONE)),
            Case(
                "plateau",
                _scalar(
                    _scalar(
                        _parameters(
                            healthy(400), {layer: {"trainable": False} for layer in LAYERS}
                        ),
                        "loss",
                        lambda s: 1.6 + 0.05 * math.sin(s),
                    ),
                    "accuracy",
                    lambda s: 0.4 + 0.02 * math.sin(s),
                ),
            ),
        ],
        [
            Case("trained", _drawn(BACKBONE, LAYERS)),
            Case("nothing-frozen", _drawn(BASE)),
            Case("first-layer-only", _drawn(_parameters(BASE, {"conv1": {"trainable": False}}))),
        ],
    ),
    "BackboneNotFrozen": (
        [
            Case("misspelt", MISSPELT),
            Case("moved", _scaled(FINE_TUNED, Group.UPDATES, 60)),
        ],
        [
            Case("fine-tuned", FINE_TUNED),
            Case("from-scratch", _scaled(_drawn(BASE), Group.UPDATES, 60)),
            Case("frozen", _scaled(_drawn(BACKBONE, LAYERS), Group.UPDATES, 60)),
        ],
    ),
}
