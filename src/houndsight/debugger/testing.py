"""Recordings of trainings that never were: a healthy one, and ways to make it ill.

`healthy()` is what the hook would have written of a small convolutional network trained with
SGD on ten classes: every group, plausible figures, noise. `Recording.changed` replaces values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History
from houndsight.debugger.record import SAMPLED, Group, Mode, Row, Statistic
from houndsight.debugger.structure import (
    LossRecord,
    ModuleRecord,
    OptimizerRecord,
    ParameterRecord,
    Structure,
)

__all__ = ["HEALTHY", "Case", "Recording", "frozen", "healthy", "structure"]

STARTED = 1_750_000_000.0
SECONDS_A_STEP = 0.1
Array = npt.NDArray[Any]
Change = Callable[[Array, Row], Any]


@dataclass(frozen=True)
class Recording:
    """Rows and structure, from which a history is made."""

    structure: Structure
    rows: tuple[Row, ...]

    def history(self, *, ended: bool = True, now: float | None = None) -> History:
        """The recording as rules see it; `now` is the time of the last row unless given."""
        last = max((row.time for row in self.rows), default=STARTED)
        return History(self.structure, self.rows, now=last if now is None else now, ended=ended)

    def changed(
        self,
        group: Group,
        statistic: Statistic | None,
        change: Change,
        *,
        names: Sequence[str] | None = None,
        mode: Mode | None = None,
        steps: range | None = None,
    ) -> Recording:
        """`change(values of the names, row)` gives the new values of the rows that fit."""

        def edit(row: Row) -> Row:
            if row.group != group or (statistic is not None and row.statistic != statistic):
                return row
            if (mode is not None and row.mode != mode) or (
                steps is not None and row.step not in steps
            ):
                return row
            if row.integers is not None:
                return replace(row, integers=np.asarray(change(row.integers, row), np.int64))
            values = row.values.copy()
            chosen = [i for i, name in enumerate(row.names) if names is None or name in names]
            if not row.names:
                return replace(row, values=np.asarray(change(values, row), np.float32))
            values[chosen] = np.asarray(change(values[chosen], row), np.float32)
            return replace(row, values=values)

        return replace(self, rows=tuple(edit(row) for row in self.rows))

    def without(self, group: Group, statistic: Statistic | None = None) -> Recording:
        """As if a group, or one statistic of it, had not been recorded."""
        kept = (
            row
            for row in self.rows
            if row.group != group or (statistic is not None and row.statistic != statistic)
        )
        return replace(self, rows=tuple(kept))

    def restructured(self, **fields: Any) -> Recording:
        """With other fields of its `Structure`."""
        return replace(self, structure=replace(self.structure, **fields))


@dataclass(frozen=True)
class Case:
    """A recording as a rule of some parameters sees it, for the conformance suite."""

    name: str
    recording: Recording
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What a person set."""
    waited: float = 0.0
    """Seconds since the last row."""
    ended: bool = True
    """Whether the training is over."""
    ranks: tuple[Recording, ...] = ()
    """The recordings of the other processes."""
    others: Mapping[str, Recording] = field(default_factory=dict)
    """Other runs, by the name that the parameters give them."""

    def history(self) -> History:
        """What the rule judges."""
        last = max((row.time for row in self.recording.rows), default=STARTED)
        ranks = [rank.history(ended=self.ended) for rank in self.ranks]
        return History(
            self.recording.structure,
            self.recording.rows,
            now=last + self.waited,
            ended=self.ended,
            ranks=ranks,
            others={name: other.history() for name, other in self.others.items()},
        )


LAYERS = ("conv1", "conv2", "conv3")


def structure(*, classes: int = 10, optimizer: str = "SGD", rate: float = 0.05) -> Structure:
    """Three blocks of convolution, BatchNorm and ReLU, and a linear head `fc`."""
    modules: list[ModuleRecord] = []
    parameters: list[ParameterRecord] = []
    for index, layer in enumerate(LAYERS):
        width = 16 * 2**index
        kinds = ((layer, "Conv2d"), (f"bn{index + 1}", "BatchNorm2d"), (f"relu{index + 1}", "ReLU"))
        settings: tuple[dict[str, Any], ...] = (
            {"in_channels": 3 if index == 0 else width // 2, "out_channels": width},
            {"num_features": width, "momentum": 0.1, "eps": 1e-5, "track_running_stats": True},
            {"inplace": False},
        )
        for (name, kind), values in zip(kinds, settings, strict=True):
            modules.append(ModuleRecord(name=name, kind=kind, order=len(modules), settings=values))
        parameters.append(_parameter(f"{layer}.weight", (width, 3, 3, 3), layer))
        parameters.append(_parameter(f"bn{index + 1}.weight", (width,), f"bn{index + 1}"))
        parameters.append(_parameter(f"bn{index + 1}.bias", (width,), f"bn{index + 1}"))
    modules.append(
        ModuleRecord(
            name="fc",
            kind="Linear",
            order=len(modules),
            settings={"in_features": 64, "out_features": classes},
        )
    )
    parameters += [
        _parameter("fc.weight", (classes, 64), "fc"),
        _parameter("fc.bias", (classes,), "fc"),
    ]
    group: dict[str, Any] = {"lr": rate, "weight_decay": 5e-4}
    group |= {"momentum": 0.9} if optimizer == "SGD" else {"betas": (0.9, 0.999), "eps": 1e-8}
    return Structure(
        root="Net",
        modules=tuple(modules),
        parameters=tuple(parameters),
        optimizer=OptimizerRecord(kind=optimizer, groups=(group,)),
        loss=LossRecord(
            kind="cross_entropy",
            settings={"label_smoothing": 0.0, "reduction": "mean"},
            target_kind="indices",
            outputs=classes,
        ),
        head="fc",
        classes=classes,
        framework="2.14.1",
    )


def _parameter(name: str, shape: tuple[int, ...], module: str) -> ParameterRecord:
    return ParameterRecord(name=name, shape=shape, module=module, trainable=True, group=0)


def healthy(
    steps: int = 120,
    *,
    seed: int = 0,
    classes: int = 10,
    batch: int = 32,
    optimizer: str = "SGD",
    rate: float = 0.05,
    evaluate_every: int = 40,
    accuracy: float = 0.95,
    warmup: int = 0,
    cosine: bool = False,
    floor: float = 0.15,
    noise: float = 0.25,
    soft_targets: bool = False,
    imbalance: float = 1.0,
) -> Recording:
    """A training that goes well: the loss falls from ln(classes), validation follows.

    Args:
        warmup: steps over which the learning rate rises to `rate`.
        cosine: whether it then falls to 0 by half a cosine.
        floor: the loss in the end.
        noise: relative variance of an example's loss.
        soft_targets: whether the targets are probabilities, as with mixup.
        imbalance: examples of the commonest class over those of the rarest.
    """
    made = _Maker(structure(classes=classes, optimizer=optimizer, rate=rate), seed, batch)
    made.floor, made.noise, made.soft_targets = floor, noise, soft_targets
    made.shares = np.geomspace(1, 1 / imbalance, classes)
    made.shares /= made.shares.sum()
    for step in range(steps):
        done = 1 - np.exp(-3 * step / steps)
        now = rate * min(1.0, (step + 1) / max(warmup, 1))
        if cosine and step >= warmup:
            now *= 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(steps - warmup, 1)))
        made.training_step(step, done, accuracy, now, share=now / rate)
        if (step + 1) % evaluate_every == 0:
            for _ in range(4):
                made.evaluation(step + 1, done, accuracy)
    if soft_targets:
        loss = replace(made.structure.loss or LossRecord(kind=""), target_kind="probabilities")
        made.structure = replace(made.structure, loss=loss)
    return Recording(made.structure, tuple(made.rows))


def frozen(recording: Recording) -> Recording:
    """Only the head is trained: the other parameters have neither gradient nor update."""
    parameters = tuple(
        p if p.module == "fc" else replace(p, trainable=False, group=None)
        for p in recording.structure.parameters
    )
    kept = [i for i, p in enumerate(parameters) if p.trainable]

    def cut(row: Row) -> Row:
        if row.group not in (Group.GRADIENTS, Group.UPDATES, Group.OPTIMIZER):
            return row
        names = tuple(row.names[i] for i in kept)
        return replace(row, names=names, values=row.values[kept])

    made = recording.restructured(parameters=parameters)
    return replace(made, rows=tuple(cut(row) for row in made.rows))


def _smoothed(recording: Recording) -> Recording:
    loss = recording.structure.loss
    assert loss is not None
    return recording.restructured(
        loss=replace(loss, settings={**loss.settings, "label_smoothing": 0.1})
    )


def _with_conv_bias(recording: Recording) -> Recording:
    """With a bias in each convolution, whose gradient BatchNorm makes 0 but for rounding."""
    biases = tuple(
        ParameterRecord(
            name=f"{layer}.bias",
            shape=(16 * 2**index,),
            module=layer,
            trainable=True,
            group=0,
            zero_gradient=f"bias before BatchNorm bn{index + 1}",
        )
        for index, layer in enumerate(LAYERS)
    )
    names = tuple(bias.name for bias in biases)
    small = {Group.PARAMETERS: 0.1, Group.GRADIENTS: 1e-10, Group.UPDATES: 1e-9}

    def widen(row: Row) -> Row:
        if row.group not in small:
            return row
        values = np.full(len(names), small[row.group], np.float32)
        return replace(row, names=(*row.names, *names), values=np.concatenate([row.values, values]))

    parameters = (*recording.structure.parameters, *biases)
    made = recording.restructured(parameters=parameters)
    return replace(made, rows=tuple(widen(row) for row in made.rows))


HEALTHY: Mapping[str, Callable[[], Recording]] = {
    "sgd": lambda: healthy(),
    "adam": lambda: healthy(optimizer="Adam", rate=1e-3),
    "adamw-cosine": lambda: healthy(200, optimizer="AdamW", rate=1e-3, warmup=20, cosine=True),
    "small-batch": lambda: healthy(300, batch=8, noise=0.5, accuracy=0.9),
    "large-batch": lambda: healthy(batch=256, seed=4),
    "two-classes": lambda: healthy(classes=2, seed=1),
    "thousand-classes": lambda: healthy(
        400, classes=1000, accuracy=0.7, floor=1.5, evaluate_every=200
    ),
    "label-smoothing": lambda: _smoothed(healthy(floor=0.6, seed=2)),
    "mixup": lambda: healthy(soft_targets=True, floor=1.0, accuracy=0.6, noise=0.1),
    "tiny-loss": lambda: healthy(400, floor=1e-4, accuracy=1.0, evaluate_every=100),
    "short": lambda: healthy(20, evaluate_every=20),
    "long": lambda: healthy(2000, batch=16, evaluate_every=500, cosine=True, warmup=100),
    "warm-up": lambda: healthy(150, warmup=50),
    "noisy": lambda: healthy(200, noise=1.0, batch=16, floor=0.5, accuracy=0.8),
    "imbalanced": lambda: healthy(200, imbalance=5.0),
    "frozen-backbone": lambda: frozen(healthy(classes=37, rate=0.01, accuracy=0.85, floor=0.5)),
    "conv-bias": lambda: _with_conv_bias(healthy(seed=3)),
    "no-evaluation": lambda: healthy(evaluate_every=10_000),
}
"""The healthy trainings at which every rule is silent, down to a remark or less, by name."""


class _Maker:
    floor = 0.15
    noise = 0.25
    soft_targets = False

    def __init__(self, structure: Structure, seed: int, batch: int) -> None:
        self.structure, self.batch = structure, batch
        self.random = np.random.default_rng(seed)
        self.rows: list[Row] = []
        self.forwards = {Mode.TRAIN: 0, Mode.EVAL: 0}
        classes = structure.classes or 10
        self.shares = np.full(classes, 1 / classes)
        self.names = tuple(p.name for p in structure.parameters)
        self.modules = tuple(m.name for m in structure.modules)

    def training_step(
        self, step: int, done: float, accuracy: float, rate: float, *, share: float = 1.0
    ) -> None:
        self._forward(Mode.TRAIN, step, done, accuracy, scalars={"learning_rate": rate})

        def noise(scale: float = 0.1) -> Array:
            return self.random.lognormal(0, scale, len(self.names))

        size = np.array([0.3 if name.endswith("bias") else 3.0 for name in self.names])
        size *= 1 + min(0.1, 0.002 * step)  # No faster than its updates can take it.
        self._add(Mode.TRAIN, step, Group.PARAMETERS, Statistic.NORM, self.names, size)
        slope = 0.3 * (1 - 0.6 * done)
        self._add(Mode.TRAIN, step, Group.GRADIENTS, Statistic.NORM, self.names, slope * noise(0.3))
        self._sampled(Mode.TRAIN, step, Group.PARAMETERS, self.names, 0.05)
        self._sampled(Mode.TRAIN, step, Group.GRADIENTS, self.names, 0.004 * (1 - 0.6 * done))
        self._add(
            Mode.TRAIN, step, Group.UPDATES, Statistic.RATIO, self.names, share * 3e-3 * noise(0.3)
        )
        if self.structure.optimizer and self.structure.optimizer.kind != "SGD":
            self._add(
                Mode.TRAIN,
                step,
                Group.OPTIMIZER,
                Statistic.SECOND_MOMENT,
                self.names,
                1e-5 * noise(),
            )

    def evaluation(self, step: int, done: float, accuracy: float) -> None:
        self._forward(Mode.EVAL, step, done, accuracy, scalars={})

    def _forward(
        self, mode: Mode, step: int, done: float, accuracy: float, scalars: dict[str, float]
    ) -> None:
        classes = self.structure.classes or 10
        random, batch = self.random, self.batch
        labels = random.choice(classes, batch, p=self.shares)
        right = random.random(batch) < 1 / classes + (accuracy - 1 / classes) * done
        guesses = np.where(right, labels, random.integers(0, classes, batch))
        level = np.log(classes) * (1 - done) + self.floor * done
        losses = level * random.gamma(1 / self.noise, self.noise, batch)
        scalars = {
            "loss": float(losses.mean()),
            "accuracy": float((guesses == labels).mean()),
            **scalars,
            "gradient_norm": 1.0,
            "micro_batches": 1.0,
            "batch_size": float(batch),
            "memory_bytes": 5e8 + random.normal(0, 1e5),
        }
        if mode == Mode.EVAL:
            scalars = {k: scalars[k] for k in ("loss", "accuracy", "batch_size")}
        training = mode == Mode.TRAIN
        flags = {
            "training": float(training),
            "batchnorm_training": float(training),
            "gradients_enabled": float(training),
            "inputs_softmaxed": 0.0,
            "targets_probabilities": float(training and self.soft_targets),
        } | ({"stale_gradients": 0.0} if training else {})
        self._add(mode, step, Group.SCALARS, Statistic.VALUE, tuple(scalars), [*scalars.values()])
        self._add(mode, step, Group.FLAGS, Statistic.VALUE, tuple(flags), [*flags.values()])
        soft = training and self.soft_targets
        known = [(Group.PREDICTIONS, guesses)] + ([] if soft else [(Group.LABELS, labels)])
        for group, whole in known:
            self._whole(mode, step, group, Statistic.VALUE, whole)
        marks = random.integers(0, 2**62, batch)
        self._whole(mode, step, Group.EXAMPLES, Statistic.FINGERPRINT, marks)
        self._add(mode, step, Group.LOSSES, Statistic.VALUE, (), losses)
        channels = ("0", "1", "2")
        for statistic, value in (
            (Statistic.MEAN, 0.0),
            (Statistic.STD, 1.0),
            (Statistic.MINIMUM, -2.1),
            (Statistic.MAXIMUM, 2.6),
        ):
            self._add(
                mode, step, Group.INPUTS, statistic, channels, value + random.normal(0, 0.03, 3)
            )
        for statistic, value in (
            (Statistic.MINIMUM, -1.0 - 4 * done),
            (Statistic.MAXIMUM, 1.0 + 8 * done),
            (Statistic.ROW_SUM_MEAN, 0.3),
            (Statistic.ROW_SUM_STD, 1.2),
            (Statistic.ENTROPY, level),
        ):
            self._add(mode, step, Group.LOGITS, statistic, ("logits",), [value])
        self._sampled(mode, step, Group.ACTIVATIONS, self.modules, 1.0)
        if training:
            relus = tuple(m.name for m in self.structure.modules if m.kind == "ReLU")
            self._add(
                mode, step, Group.ACTIVATIONS, Statistic.INACTIVE, relus, np.full(len(relus), 0.02)
            )
            norms = tuple(m.name for m in self.structure.modules if m.kind == "BatchNorm2d")
            self._add(mode, step, Group.BATCHNORM, Statistic.DRIFT, norms, np.full(len(norms), 0.1))
            self._add(
                mode,
                step,
                Group.BATCHNORM,
                Statistic.VARIANCE_RATIO,
                norms,
                np.full(len(norms), 1.0),
            )
        self.forwards[mode] += 1

    def _sampled(
        self, mode: Mode, step: int, group: Group, names: tuple[str, ...], scale: float
    ) -> None:
        random, count = self.random, len(names)
        for statistic in SAMPLED:
            factor = {
                Statistic.MEAN: 0.02,
                Statistic.MEAN_ABSOLUTE: 0.8,
                Statistic.STD: 1.0,
                Statistic.MINIMUM: -3.0,
                Statistic.MAXIMUM: 3.0,
                Statistic.P05: -1.6,
                Statistic.P25: -0.7,
                Statistic.MEDIAN: 0.01,
                Statistic.P75: 0.7,
                Statistic.P95: 1.6,
                Statistic.ZEROS: 0.0,
            }[statistic]
            values = factor * scale * random.lognormal(0, 0.1, count)
            self._add(mode, step, group, statistic, names, values, exact=False)

    def _add(
        self,
        mode: Mode,
        step: int,
        group: Group,
        statistic: Statistic,
        names: tuple[str, ...],
        values: Any,
        *,
        exact: bool = True,
    ) -> None:
        self.rows.append(
            Row(
                step=step,
                forward=self.forwards[mode],
                mode=mode,
                group=group,
                statistic=statistic,
                names=names,
                values=np.asarray(values, np.float32),
                exact=exact,
                time=STARTED + SECONDS_A_STEP * step,
            )
        )

    def _whole(
        self, mode: Mode, step: int, group: Group, statistic: Statistic, values: Array
    ) -> None:
        self._add(mode, step, group, statistic, (), np.empty(0))
        self.rows[-1] = replace(self.rows[-1], integers=values.astype(np.int64))
