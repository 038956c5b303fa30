"""Rows of a training that never was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.record import SAMPLED, Group, Mode, Row, Statistic
from houndsight.debugger.structure import Structure
from houndsight.debugger.testing.recording import STARTED

__all__ = ["Maker"]

SECONDS_A_STEP = 0.1
Array = npt.NDArray[Any]


class Maker:
    """Writes the rows of a training, forward by forward and step by step."""

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
        """A forward, its gradients and the optimizer's step."""
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
        """A forward without gradients."""
        self._forward(Mode.EVAL, step, done, accuracy, scalars={})

    def _forward(
        self, mode: Mode, step: int, done: float, accuracy: float, scalars: dict[str, float]
    ) -> None:
        classes, batch = self.structure.classes or 10, self.batch
        labels = self.random.choice(classes, batch, p=self.shares)
        right = self.random.random(batch) < 1 / classes + (accuracy - 1 / classes) * done
        guesses = np.where(right, labels, self.random.integers(0, classes, batch))
        level = np.log(classes) * (1 - done) + self.floor * done
        losses = level * self.random.gamma(1 / self.noise, self.noise, batch)
        known = {"loss": float(losses.mean()), "accuracy": float((guesses == labels).mean())}
        self._scalars(mode, step, known | scalars)
        self._flags(mode, step)
        soft = mode == Mode.TRAIN and self.soft_targets
        whole = [(Group.PREDICTIONS, guesses)] + ([] if soft else [(Group.LABELS, labels)])
        for group, values in whole:
            self._whole(mode, step, group, Statistic.VALUE, values)
        marks = self.random.integers(0, 2**62, batch)
        self._whole(mode, step, Group.EXAMPLES, Statistic.FINGERPRINT, marks)
        self._add(mode, step, Group.LOSSES, Statistic.VALUE, (), losses)
        self._inputs(mode, step)
        self._logits(mode, step, done, float(level))
        self._sampled(mode, step, Group.ACTIVATIONS, self.modules, 1.0)
        if mode == Mode.TRAIN:
            self._modules(step)
        self.forwards[mode] += 1

    def _scalars(self, mode: Mode, step: int, known: dict[str, float]) -> None:
        scalars = {
            **known,
            "gradient_norm": 1.0,
            "micro_batches": 1.0,
            "batch_size": float(self.batch),
            "memory_bytes": 5e8 + self.random.normal(0, 1e5),
        }
        if mode == Mode.EVAL:
            scalars = {k: scalars[k] for k in ("loss", "accuracy", "batch_size")}
        self._add(mode, step, Group.SCALARS, Statistic.VALUE, tuple(scalars), [*scalars.values()])

    def _flags(self, mode: Mode, step: int) -> None:
        training = mode == Mode.TRAIN
        flags = {
            "training": float(training),
            "batchnorm_training": float(training),
            "gradients_enabled": float(training),
            "inputs_softmaxed": 0.0,
            "targets_probabilities": float(training and self.soft_targets),
        } | ({"stale_gradients": 0.0} if training else {})
        self._add(mode, step, Group.FLAGS, Statistic.VALUE, tuple(flags), [*flags.values()])

    def _inputs(self, mode: Mode, step: int) -> None:
        usual = (
            (Statistic.MEAN, 0.0),
            (Statistic.STD, 1.0),
            (Statistic.MINIMUM, -2.1),
            (Statistic.MAXIMUM, 2.6),
        )
        for statistic, value in usual:
            values = value + self.random.normal(0, 0.03, 3)
            self._add(mode, step, Group.INPUTS, statistic, ("0", "1", "2"), values)

    def _logits(self, mode: Mode, step: int, done: float, level: float) -> None:
        usual = (
            (Statistic.MINIMUM, -1.0 - 4 * done),
            (Statistic.MAXIMUM, 1.0 + 8 * done),
            (Statistic.ROW_SUM_MEAN, 0.3),
            (Statistic.ROW_SUM_STD, 1.2),
            (Statistic.ENTROPY, level),
        )
        for statistic, value in usual:
            self._add(mode, step, Group.LOGITS, statistic, ("logits",), [value])

    def _modules(self, step: int) -> None:
        usual = (
            ("ReLU", Group.ACTIVATIONS, Statistic.INACTIVE, 0.02),
            ("BatchNorm2d", Group.BATCHNORM, Statistic.DRIFT, 0.1),
            ("BatchNorm2d", Group.BATCHNORM, Statistic.VARIANCE_RATIO, 1.0),
        )
        for kind, group, statistic, value in usual:
            names = tuple(m.name for m in self.structure.modules if m.kind == kind)
            self._add(Mode.TRAIN, step, group, statistic, names, np.full(len(names), value))

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
