"""SageMaker Debugger's tensor rules as documented, with their documented defaults.

They live here and not in the product: what a person got who took the rules as they came. Every
recorded step is judged, which is what the documentation asks of a save interval of 1. Rules
that must be given tensors get those of the documentation's own example.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from houndsight.debugger import conditions
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Statistic

__all__ = ["DOCUMENTED", "documented"]

Floats = npt.NDArray[np.float64]
TENSORS = (Group.PARAMETERS, Group.GRADIENTS, Group.ACTIVATIONS)


def _losses(history: History) -> Floats:
    return history.scalar("loss").of("loss")


def vanishing_gradient(history: History) -> bool:
    """Some gradient's mean of absolute values is under 1e-7."""
    series = history.series(Group.GRADIENTS, Statistic.MEAN_ABSOLUTE)
    return bool((series.values[series.present] < 1e-7).any())


def exploding_tensor(history: History) -> bool:
    """Some tensor has a NaN or an infinity."""
    for group in TENSORS:
        for statistic in (Statistic.NORM, Statistic.MEAN):
            series = history.series(group, statistic)
            if (~np.isfinite(series.values[series.present])).any():
                return True
    return bool((~np.isfinite(_losses(history))).any())


def poor_weight_initialization(history: History) -> bool:
    """Within 10 steps: variances of layers differ tenfold, gradients are narrow, or the loss
    does not fall for 5 steps."""
    weights = [p.name for p in history.structure.parameters if len(p.shape) > 1]
    variances = history.series(Group.PARAMETERS, Statistic.STD).only(weights).values[:10] ** 2
    ratio = variances.max(axis=1) / np.maximum(variances.min(axis=1), 1e-30)
    high = history.series(Group.GRADIENTS, Statistic.P95).only(weights).values[:10]
    low = history.series(Group.GRADIENTS, Statistic.P05).only(weights).values[:10]
    loss = _losses(history)[:10]
    best = np.minimum.accumulate(loss)
    stuck = any(best[i + 5] >= best[i] for i in range(len(best) - 5))
    return bool((ratio > 10).any() or (np.nanmin(high - low) < 0.001) or stuck)


def saturated_activation(history: History) -> bool:
    """Over half of a layer's units are saturated."""
    series = history.series(Group.ACTIVATIONS, Statistic.SATURATED)
    return bool((series.values[series.present] > 0.5).any())


def dead_relu(history: History) -> bool:
    """Over half of a layer's units are never active."""
    series = history.series(Group.ACTIVATIONS, Statistic.INACTIVE)
    return bool((series.values[series.present] > 0.5).any())


def weight_update_ratio(history: History) -> bool:
    """A step is over 10 times as long as the weights, or under 1e-8 of them."""
    series = history.series(Group.UPDATES, Statistic.RATIO)
    weights = [name for name in series.names if name.endswith("weight")]
    values = series.only(weights).values
    values = values[np.isfinite(values)]
    return bool(((values > 10) | (values < 1e-8)).any())


def all_zero(history: History) -> bool:
    """A tensor is all zeros; of all tensors, as in the documentation's example."""
    for group in TENSORS:
        series = history.series(group, Statistic.ZEROS)
        if (series.values[series.present] >= 1).any():
            return True
    return False


def tensor_variance(history: History) -> bool:
    """A weight's variance is over 10 or under 1e-5, the documentation's example."""
    series = history.series(Group.PARAMETERS, Statistic.STD)
    weights = [name for name in series.names if name.endswith("weight")]
    variance = series.only(weights).values ** 2
    return bool(((variance > 10) | (variance < 1e-5)).any())


def unchanged_tensor(history: History) -> bool:
    """The loss is the same three times running, the documentation's example."""
    loss = _losses(history)
    return any(
        np.allclose(loss[i : i + 3], loss[i], rtol=1e-5, atol=1e-8) for i in range(len(loss) - 2)
    )


def loss_not_decreasing(history: History) -> bool:
    """Every 10 steps: the loss has not fallen by 0.1 %, or has risen by 5 %, in 10 steps."""
    loss = _losses(history)[::10]
    return bool((loss[1:] > loss[:-1] * (1 - 0.001)).any())


def overfit(history: History) -> bool:
    """The validation loss is over 1.1 times the training loss more than once."""
    steps, loss = history.scalar("loss").steps, _losses(history)
    found = 0
    for evaluation in conditions.evaluations(history):
        train = loss[steps <= evaluation.step].mean()
        found += (evaluation.loss - train) / train > 0.1
    return found > 1


def overtraining(history: History) -> bool:
    """No better training loss for 5 steps and no better validation loss for 10 evaluations."""
    train = _since_best(_losses(history))
    valid = _since_best(np.array([e.loss for e in conditions.evaluations(history)]))
    return train >= 5 and valid >= 10


def _since_best(loss: Floats) -> int:
    best, since = float("inf"), 0
    for value in loss:
        since = 0 if value < best - 0.01 else since + 1
        best = min(best, float(value))
    return since


def class_imbalance(history: History) -> bool:
    """Of 500 labels: classes differ tenfold, or some class is mispredicted in over 70 %."""
    labels = history.batches(Group.LABELS).together()[:500].astype(int)
    predictions = history.batches(Group.PREDICTIONS).together()[:500].astype(int)
    if len(labels) < 500:
        return False
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if counts.max() > 10 * counts.min():
        return True
    if len(predictions) != len(labels):
        return False
    return any((predictions[labels == c] != c).mean() > 0.7 for c in np.unique(labels))


def check_input_images(history: History) -> bool:
    """After 500 photos the mean of a channel is over 0.2 from 0."""
    mean = history.series(Group.INPUTS, Statistic.MEAN, Mode.TRAIN).values
    return bool(len(mean) and (np.abs(np.nanmean(mean, axis=0)) > 0.2).any())


DOCUMENTED: dict[str, Callable[[History], bool]] = {
    "VanishingGradient": vanishing_gradient,
    "ExplodingTensor": exploding_tensor,
    "PoorWeightInitialization": poor_weight_initialization,
    "SaturatedActivation": saturated_activation,
    "DeadRelu": dead_relu,
    "WeightUpdateRatio": weight_update_ratio,
    "AllZero": all_zero,
    "TensorVariance": tensor_variance,
    "UnchangedTensor": unchanged_tensor,
    "LossNotDecreasing": loss_not_decreasing,
    "Overfit": overfit,
    "Overtraining": overtraining,
    "ClassImbalance": class_imbalance,
    "CheckInputImages": check_input_images,
}


def documented(history: History) -> set[str]:
    """The names of the rules that fire."""
    with np.errstate(all="ignore"):
        return {name for name, fires in DOCUMENTED.items() if _fires(fires, history)}


def _fires(rule: Callable[[History], bool], history: History) -> bool:
    try:
        return rule(history)
    except ValueError:  # Nothing of what it looks at was recorded.
        return False
