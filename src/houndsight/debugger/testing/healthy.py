"""Trainings that go well, of many kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from houndsight.debugger.record import Group, Row
from houndsight.debugger.structure import LossRecord, ParameterRecord
from houndsight.debugger.testing.maker import Maker
from houndsight.debugger.testing.network import LAYERS, structure
from houndsight.debugger.testing.recording import Recording

__all__ = ["HEALTHY", "frozen", "healthy"]


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
    made = Maker(structure(classes=classes, optimizer=optimizer, rate=rate), seed, batch)
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
