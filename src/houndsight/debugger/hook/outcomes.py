"""What came out of a forward: losses, labels, predictions, and the logits' figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.hook.losses import LossCall
from houndsight.debugger.hook.recording import Forward
from houndsight.debugger.hook.sampling import to_numpy
from houndsight.debugger.record import Statistic

__all__ = ["LOGIT_STATISTICS", "Outcome", "outcome_of", "target_kind"]

LOGIT_STATISTICS = (
    Statistic.MINIMUM,
    Statistic.MAXIMUM,
    Statistic.ROW_SUM_MEAN,
    Statistic.ROW_SUM_STD,
    Statistic.ENTROPY,
)
Array = npt.NDArray[Any]
NEAR = 1e-3
"""How far a row of probabilities may be from summing to 1, for those in half precision."""


@dataclass
class Outcome:
    """Of one forward; None where it has no such thing."""

    losses: dict[str, float] = field(default_factory=dict)
    """`loss`, and `loss/1` … for further ones."""
    labels: Array | None = None
    predictions: Array | None = None
    each: Array | None = None
    """Loss of each example."""
    accuracy: float | None = None
    logits: Array | None = None
    """Figures in the order of `LOGIT_STATISTICS`."""
    softmaxed: bool | None = None
    probabilities_as_targets: bool | None = None


def outcome_of(forward: Forward) -> Outcome:
    """Everything that the forward's losses tell."""
    outcome = Outcome()
    for number, call in enumerate(forward.losses):
        name = f"loss/{number}" if number else "loss"
        outcome.losses[name] = float(to_numpy(call.value.float().mean()))
    if not forward.losses:
        return outcome
    call = forward.losses[0]
    kept = call.kept_logits()
    targets = (
        None
        if call.targets is None
        else call.targets.cpu().numpy()
        if (not call.targets.is_floating_point())
        else to_numpy(call.targets)
    )
    if targets is not None:
        kind = target_kind(targets)
        outcome.probabilities_as_targets = kind == "probabilities"
        outcome.labels = _labels(targets, kind)
    if kept is not None:
        _add_logits(outcome, call, to_numpy(kept), targets)
    return outcome


def target_kind(targets: Array) -> str:
    """`indices`, `probabilities` (rows that sum to 1) or `values`."""
    if targets.dtype.kind in "iu" and targets.ndim <= 1:
        return "indices"
    return "probabilities" if targets.ndim == 2 and _rows_of_probabilities(targets) else "values"


def _rows_of_probabilities(values: Array) -> bool:
    with np.errstate(all="ignore"):
        near = np.abs(values.sum(1) - 1) < NEAR
        return bool(
            values.shape[1] > 1
            and near.all()
            and (values >= 0).all()
            and (values <= 1 + NEAR).all()
        )


def _labels(targets: Array, kind: str) -> Array | None:
    """Class indices (examples,), also of targets that are one-hot rows."""
    if kind == "indices" and targets.ndim == 1:
        return np.asarray(targets, np.int64)
    if kind == "probabilities" and (targets.max(1) == 1).all():
        return np.asarray(targets.argmax(1), np.int64)
    return None


def _add_logits(outcome: Outcome, call: LossCall, logits: Array, targets: Array | None) -> None:
    if logits.ndim != 2 or logits.shape[1] < 2 or not len(logits):
        if targets is not None and targets.shape == logits.shape and logits.ndim:
            outcome.each = _elementwise(call.kind, logits, targets)
        return
    with np.errstate(all="ignore"):
        top = logits.max(1, keepdims=True)
        spread = np.exp(logits - top)
        total = spread.sum(1, keepdims=True)
        logarithms = logits - top - np.log(total)
        entropy = -(spread / total * np.maximum(logarithms, -1e4)).sum(1).mean()
        sums = logits.sum(1)
        figures = [logits.min(), logits.max(), sums.mean(), sums.std(), entropy]
    outcome.logits = np.array(figures, np.float32)
    outcome.predictions = logits.argmax(1).astype(np.int64)
    outcome.softmaxed = _rows_of_probabilities(logits)
    if outcome.labels is not None and len(outcome.labels) == len(logits):
        outcome.accuracy = float((outcome.predictions == outcome.labels).mean())
    if targets is not None and len(targets) == len(logits):
        outcome.each = _each(call, logits, logarithms, targets, outcome.labels)


def _each(
    call: LossCall, logits: Array, logarithms: Array, targets: Array, labels: Array | None
) -> Array | None:
    """The loss of each example, without the weights of classes."""
    classes = logits.shape[1]
    if call.kind == "cross_entropy" and targets.ndim == 1 and labels is not None:
        smoothing = float((call.settings or {}).get("label_smoothing", 0.0))
        own = _picked(logarithms, labels)
        return np.asarray(-(1 - smoothing) * own - smoothing * logarithms.sum(1) / classes)
    if call.kind == "cross_entropy" and targets.shape == logits.shape:
        smoothing = float((call.settings or {}).get("label_smoothing", 0.0))
        wanted = (1 - smoothing) * targets + smoothing / classes
        return np.asarray(-(wanted * logarithms).sum(1))
    if call.kind == "nll_loss" and labels is not None:
        return np.asarray(-_picked(logits, labels))
    if targets.shape == logits.shape:
        return _elementwise(call.kind, logits, targets)
    return None


def _picked(values: Array, labels: Array) -> Array:
    """values[i, labels[i]]; NaN for labels that are no class, such as those to be ignored."""
    inside = (labels >= 0) & (labels < values.shape[1])
    picked = values[np.arange(len(labels)), np.where(inside, labels, 0)]
    return np.where(inside, picked, np.nan)


def _elementwise(kind: str, outputs: Array, targets: Array) -> Array | None:
    """The mean over everything but the batch."""
    with np.errstate(all="ignore"):
        if kind == "mse_loss":
            each = (outputs - targets) ** 2
        elif kind == "l1_loss":
            each = np.abs(outputs - targets)
        elif kind == "binary_cross_entropy_with_logits":
            each = np.logaddexp(0, outputs) - outputs * targets
        elif kind == "binary_cross_entropy":
            clipped = np.clip(outputs, 1e-12, 1 - 1e-7)
            each = -targets * np.log(clipped) - (1 - targets) * np.log(1 - clipped)
        else:
            return None
    return np.asarray(each.reshape(len(each), -1).mean(1))
