"""What rules on optimisation measure: the size of the steps, the level and noise of the loss.

The size of a step is the ratio of an update's length to the length of the weights it changes.
It says how fast the network turns over whatever the optimizer, and 1e-3 is the old rule of
thumb (Karpathy, CS231n); TheDeepChecker (TOSEM 2022) calls 1e-4 to 1e-1 healthy. Only weights
with two dimensions or more are looked at: biases and BatchNorm's scales start at 0 or move
by far more than their length on the healthiest training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger import conditions
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.structure import ParameterRecord, Structure

__all__ = [
    "CLIPPED_WITHIN",
    "COMFORTABLE_RATIO",
    "adaptive",
    "clipped_at",
    "examples_a_step",
    "fresh",
    "fresh_share",
    "head_makes_outputs",
    "horizon",
    "known_scalar",
    "learning_rate",
    "loss_plot",
    "main_group",
    "peak_rate",
    "rounded",
    "smoothed_loss",
    "suggested_rate",
    "training_loss",
    "uniform_loss",
    "value_limit",
    "weight_names",
    "weight_ratios",
    "whole_batches",
]

Floats = npt.NDArray[np.float64]

COMFORTABLE_RATIO = 1e-2
"""Size of the first steps on healthy trainings; it sinks to 1e-3 as they go on (measured)."""
ADAPTIVE = ("adam", "rmsprop", "adagrad", "adadelta", "lion", "rprop", "radam", "sophia", "adopt")
FRESH_TOLERANCE = 0.04
CLIPPED_STEPS, CLIPPED_SHARE, CLIPPED_WITHIN = 10, 0.8, 2e-3
FULL = 0.5
BEGAN_AT_ZERO = 1e-6
BLOWN_UP = 0.5


def loss_plot(history: History, threshold: float | None = None) -> dict[str, Any]:
    """The training loss over the steps: what a finding without figures of its own shows."""
    loss = training_loss(history)
    return conditions.line_plot(
        loss.steps, {"loss": loss.of("loss")}, y_label="loss", threshold=threshold
    )


def rounded(value: float) -> float:
    """`value` as 1, 2 or 5 times a power of ten, the nearest by ratio."""
    if value <= 0 or not math.isfinite(value):
        return value
    power = math.floor(math.log10(value))
    steps = [float(f"{digit}e{power}") for digit in (1, 2, 5, 10)]
    return min(steps, key=lambda step: abs(math.log(value / step)))


def adaptive(structure: Structure) -> bool:
    """Whether the optimizer divides a gradient by its own size, so that its scale is no matter."""
    kind = structure.optimizer.kind.lower() if structure.optimizer else ""
    return any(name in kind for name in ADAPTIVE) or kind in {"lamb", "lars"}


def whole_batches(structure: Structure) -> bool:
    """Whether the optimizer is one that is given the whole data set at each step (L-BFGS)."""
    return structure.optimizer is not None and structure.optimizer.kind == "LBFGS"


def main_group(structure: Structure) -> tuple[int, Mapping[str, Any]]:
    """Number and settings of the optimizer's group that holds most parameters."""
    groups = structure.optimizer.groups if structure.optimizer else ()
    if not groups:
        return 0, {}
    sizes = [0] * len(groups)
    for parameter in structure.parameters:
        if parameter.group is not None and parameter.group < len(groups):
            sizes[parameter.group] += math.prod(parameter.shape)
    index = int(np.argmax(sizes))
    return index, groups[index]


def horizon(settings: Mapping[str, Any]) -> float:
    """How many times over SGD applies a gradient in the end: (1 - dampening) / (1 - momentum)."""
    momentum = float(settings.get("momentum") or 0.0)
    if momentum >= 1:
        return math.inf
    return (1 - float(settings.get("dampening") or 0.0)) / (1 - momentum)


def learning_rate(history: History) -> Series:
    """The learning rate of the group with most parameters; empty where it is not recorded."""
    return history.scalar("learning_rate")


def peak_rate(history: History) -> float:
    """The highest learning rate used so far, else that of the optimizer; NaN when unknown."""
    recorded = learning_rate(history)
    if len(recorded) and np.isfinite(recorded.values).any():
        return float(np.nanmax(recorded.values))
    rate = main_group(history.structure)[1].get("lr")
    return float(rate) if rate is not None else math.nan


def weight_names(structure: Structure) -> tuple[str, ...]:
    """Parameters with two dimensions or more that the optimizer is to change."""
    return tuple(p.name for p in structure.learnable() if len(p.shape) > 1)


def weight_ratios(history: History) -> tuple[Series, Floats]:
    """(n, weights) sizes of the steps of all weights, and (n,) their median at each step.

    Steps at which none is known are left out, and so are weights that began at 0, such as a head
    that starts so: they multiply at first on the healthiest training.
    """
    names = weight_names(history.structure)
    lengths = history.series(Group.PARAMETERS, Statistic.NORM)
    zero = {n for n in names if len(lengths) and lengths.of(n)[0] <= BEGAN_AT_ZERO}
    series = history.series(Group.UPDATES, Statistic.RATIO)
    series = series.only([name for name in names if name not in zero])
    series = series.at(np.isfinite(series.values).any(axis=1))
    finite = np.where(np.isfinite(series.values), series.values, np.nan)
    return series, np.nanmedian(finite, axis=1) if finite.size else np.empty(0)


def training_loss(history: History, mode: Mode = Mode.TRAIN) -> Series:
    """The loss, with NaN and infinities as they were."""
    return history.scalar("loss", mode)


def known_scalar(history: History, name: str) -> tuple[Series, Floats]:
    """The rows at which a scalar of training was a finite number, and (n,) its values there."""
    series = history.scalar(name)
    series = series.at(np.isfinite(series.of(name)))
    return series, series.of(name)


def clipped_at(history: History) -> float:
    """The length to which nearly all gradients are clipped; NaN where they are not.

    Lengths within 0.2 % of their maximum at 80 % of the steps, ten at least: only clipping does
    that.
    """
    lengths = known_scalar(history, "gradient_norm")[1]
    if len(lengths) < CLIPPED_STEPS or lengths.max() <= 0:
        return math.nan
    limit = float(lengths.max())
    clipped = float((lengths > limit * (1 - CLIPPED_WITHIN)).mean()) >= CLIPPED_SHARE
    return limit if clipped else math.nan


def value_limit(history: History) -> float:
    """What the gradients' elements are clipped to, where most of them are; 0 where they are not."""
    low, high, size = (
        history.series(Group.GRADIENTS, statistic).values
        for statistic in (Statistic.MINIMUM, Statistic.MAXIMUM, Statistic.MEAN_ABSOLUTE)
    )
    if not low.size or not len(low) == len(high) == len(size):
        return 0.0
    known = np.isfinite(low).any(axis=1) & np.isfinite(high).any(axis=1)
    if not known.any():
        return 0.0
    largest = np.nanmax(np.maximum(-low[known], high[known]), axis=1)
    limit = float(largest.max())
    same = float((largest > limit * (1 - CLIPPED_WITHIN)).mean()) >= CLIPPED_SHARE
    # A length that is clipped leaves elements of all sizes.
    full = float(np.median(np.nanmax(size[known], axis=1))) > FULL * limit
    return limit if same and full else 0.0


def head_makes_outputs(structure: Structure) -> bool:
    """Whether the last layer makes the outputs, as far as its width tells."""
    head, loss = structure.module(structure.head), structure.loss
    width = head.settings.get("out_features") if head else None
    return width is None or loss is None or loss.outputs in (None, width)


def uniform_loss(structure: Structure) -> float | None:
    """What the loss is for a network that finds every class equally likely; None when unknown.

    ln(classes) for cross-entropy, also with label smoothing and class weights (PyTorch divides
    by the sum of the weights); ln 2 for binary cross-entropy.
    """
    loss = structure.loss
    if loss is None or loss.settings.get("reduction", "mean") not in ("mean", None):
        return None
    if loss.kind in {"cross_entropy", "nll_loss"}:
        return math.log(loss.outputs) if loss.outputs and loss.outputs > 1 else None
    if loss.kind.startswith("binary_cross_entropy"):
        return math.log(2.0)
    return None


def smoothed_loss(history: History) -> tuple[Series, Floats]:
    """The finite training losses, and (n,) their median over the steps up to each.

    Over five steps, or as many as hold 64 examples: a single hard batch does not count.
    """
    loss, values = known_scalar(history, "loss")
    width = min(max(5, -(-64 // max(examples_a_step(history), 1))), max(len(values), 1))
    if not len(values):
        return loss, values
    padded = np.concatenate([np.full(width - 1, values[0]), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    return loss, np.median(windows, axis=1)


def examples_a_step(history: History) -> int:
    """How many examples a step of the optimizer usually sees; 64 where nobody knows."""
    sizes = known_scalar(history, "batch_size")[1]
    micro = known_scalar(history, "micro_batches")[1]
    if not len(sizes):
        return 64
    return int(np.median(sizes) * (max(float(np.median(micro)), 1.0) if len(micro) else 1.0))


def suggested_rate(history: History, first: int = 5, ratio: float = COMFORTABLE_RATIO) -> float:
    """The learning rate at which the first steps would have had the size `ratio`; NaN if unknown.

    An estimate: for SGD and Adam alike a step is proportional to its learning rate as long as
    the gradients are the same, which holds before a training has diverged.
    """
    optimizer = history.structure.optimizer
    if optimizer is not None and optimizer.kind == "Adadelta":
        return 1.0  # It finds its own step; the rate only scales it (Zeiler, 2012).
    series, middle = weight_ratios(history)
    rates = learning_rate(history)
    # Weights that have blown up make the next steps look small beside them.
    blown = np.flatnonzero(middle[:first] > BLOWN_UP)
    alone = len(blown) > 0 and blown[0] < first - 1
    per_rate = [
        middle[index] / rates.values[at, 0]
        for index, step in enumerate(series.steps[: int(blown[0]) + 1 if alone else first])
        for at in np.flatnonzero(rates.steps == step)[-1:]
        if rates.values[at, 0] > 0 and middle[index] > 0
    ]
    if not per_rate:
        return math.nan
    if not alone:
        return rounded(ratio / float(np.median(per_rate)))
    # Momentum has had no time to add up steps, which it does over the next ones.
    momentum = float(main_group(history.structure)[1].get("momentum") or 0.0)
    grown = sum(momentum**power for power in range(first // 2 + 1))
    return rounded(ratio / (per_rate[-1] * max(grown, 1.0)))


def fresh_share(history: History, names: Iterable[str]) -> float:
    """Share of the parameters, where it can be told, that are as they were drawn; NaN if none."""
    norms = history.series(Group.PARAMETERS, Statistic.NORM)
    told = [
        drawn
        for name in names
        if (parameter := history.structure.parameter(name)) is not None
        and len(norms)
        and np.isfinite(length := float(norms.of(name)[0]))
        and (drawn := fresh(parameter, length, history.structure)) is not None
    ]
    return sum(told) / len(told) if told else math.nan


def fresh(parameter: ParameterRecord, norm: float, structure: Structure) -> bool | None:
    """Whether a parameter of that length is as it was drawn; None when its length cannot tell.

    PyTorch draws weights uniformly with standard deviation 1 / sqrt(3 * fan in); torchvision's
    and timm's networks take Kaiming's sqrt(2 / fan in or out), Xavier's sqrt(2 / (fan in +
    fan out)), or 0.01 or 0.02. BatchNorm starts with scale 1 and shift 0, and no trained one has
    either. The length of n such values is known to within 1 / sqrt(2 n).
    """
    size = math.prod(parameter.shape)
    module = structure.module(parameter.module)
    if len(parameter.shape) == 1:
        if module is None or "Norm" not in module.kind:
            return None
        drawn = math.sqrt(size) if parameter.name.endswith("weight") else 0.0
        return abs(norm - drawn) < 1e-4 * math.sqrt(size)
    if size < 64:
        return None
    field = math.prod(parameter.shape[2:])
    fan_in, fan_out = parameter.shape[1] * field, parameter.shape[0] * field
    variances = (1 / (3 * fan_in), 2 / fan_in, 2 / fan_out, 1 / fan_in, 2 / (fan_in + fan_out))
    deviations = [math.sqrt(v) for v in variances] + [0.01, 0.02]
    measured = norm / math.sqrt(size)
    allowed = min(FRESH_TOLERANCE, 3 / math.sqrt(2 * size))
    return any(abs(measured / deviation - 1) < allowed for deviation in deviations)
