"""What came out of forwards: losses, labels, predictions, and the logits' figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.hook.losses import LossCall
from houndsight.debugger.hook.recording import Forward
from houndsight.debugger.hook.sampling import stacked
from houndsight.debugger.record import Statistic

__all__ = ["LOGIT_STATISTICS", "Outcome", "outcomes_of", "target_kind"]

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


@dataclass(slots=True)
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


def outcomes_of(forwards: Iterable[Forward]) -> dict[int, Outcome]:
    """Everything that the forwards' losses tell, by `id` of the forward."""
    found = {id(forward): Outcome() for forward in forwards}
    values: list[tuple[Outcome, str, LossCall]] = []
    groups: dict[Any, list[tuple[Outcome, LossCall]]] = defaultdict(list)
    for forward in forwards:
        outcome = found[id(forward)]
        if _mixes(forward.losses):
            _add_mixed(outcome, forward.losses)
            call = replace(forward.losses[0], targets=None)
            groups[_alike(call)].append((outcome, call))
            continue
        for number, call in enumerate(forward.losses):
            values.append((outcome, f"loss/{number}" if number else "loss", call))
        if forward.losses:
            call = forward.losses[0]
            groups[_alike(call)].append((outcome, call))
    _add_losses(values)
    for members in groups.values():
        _add_group([o for o, _ in members], [c for _, c in members])
    return found


def _mixes(calls: Sequence[LossCall]) -> bool:
    """Whether the first two losses ask the same outputs for different classes, as mixup does."""
    if len(calls) < 2 or calls[0].kind != calls[1].kind:
        return False
    (one, other), (first, second) = (
        [call.kept_logits() for call in calls[:2]],
        [call.targets for call in calls[:2]],
    )
    if one is None or other is None or first is None or second is None:
        return False
    same = one.data_ptr() == other.data_ptr() and one.shape == other.shape
    indices = first.ndim == 1 and not first.is_floating_point() and first.shape == second.shape
    return same and indices and not bool((first == second).all())


def _add_mixed(outcome: Outcome, calls: Sequence[LossCall]) -> None:
    """Of photos with two labels each, in a proportion that is not known: none is the right answer.

    What the network finds likelier stands for the proportion: even at first, like it later.
    """
    one, other = (float(call.value.mean()) for call in calls[:2])
    share = 1 / (1 + math.exp(min(max(one - other, -50.0), 50.0)))
    outcome.losses["loss"] = share * one + (1 - share) * other
    outcome.probabilities_as_targets = True


def _alike(call: LossCall) -> Any:
    """What calls must share to be reduced together."""
    logits, targets = call.kept_logits(), call.targets
    return (
        call.kind,
        (call.settings or {}).get("label_smoothing", 0.0),
        None if logits is None else (logits.shape, logits.dtype, logits.device),
        None if targets is None else (targets.shape, targets.dtype, targets.device),
    )


def _add_losses(values: Sequence[tuple[Outcome, str, LossCall]]) -> None:
    single = [call.value if call.value.ndim == 0 else call.value.mean() for _, _, call in values]
    for (outcome, name, _), value in zip(values, single, strict=True):
        outcome.losses[name] = float(value)


def _add_group(outcomes: Sequence[Outcome], calls: Sequence[LossCall]) -> None:
    kept = [call.logits for call in calls if call.kept_logits() is not None]
    given = [call.targets for call in calls if call.targets is not None]
    targets = stacked(given) if given else None
    labels: Array | None = None
    if targets is not None:
        kind = target_kind(targets[0])
        labels = _labels(targets, kind)
        for i, outcome in enumerate(outcomes):
            outcome.probabilities_as_targets = kind == "probabilities"
            outcome.labels = None if labels is None else labels[i]
    logits = stacked([k for k in kept if k is not None]) if kept else None
    if logits is None:
        return
    if logits.ndim == 3 and logits.shape[2] > 1 and logits.shape[1]:
        _add_logits(outcomes, calls[0], logits, targets, labels)
    elif targets is not None and targets.shape == logits.shape and logits.ndim > 1:
        _put_each(outcomes, _elementwise(calls[0].kind, logits, targets))


def target_kind(targets: Array) -> str:
    """`indices`, `probabilities` (rows that sum to 1) or `values`, of one batch."""
    if targets.dtype.kind in "iu" and targets.ndim <= 1:
        return "indices"
    probabilities = targets.ndim == 2 and bool(_rows_of_probabilities(targets[None])[0])
    return "probabilities" if probabilities else "values"


def _rows_of_probabilities(values: Array) -> Array:
    """(n,) of (n, rows, columns): whether all rows could be probabilities."""
    with np.errstate(all="ignore"):
        near = (np.abs(values.sum(2) - 1) < NEAR).all(1)
        inside = ((values >= 0) & (values <= 1 + NEAR)).all((1, 2))
        return np.asarray(near & inside & (values.shape[2] > 1))


def _labels(targets: Array, kind: str) -> Array | None:
    """Class indices (n, examples), also of targets that are one-hot rows."""
    if kind == "indices" and targets.ndim == 2:
        return np.asarray(targets, np.int64)
    if kind == "probabilities" and bool((targets.max(2) == 1).all()):
        return np.asarray(targets.argmax(2), np.int64)
    return None


def _add_logits(
    outcomes: Sequence[Outcome],
    call: LossCall,
    logits: Array,
    targets: Array | None,
    labels: Array | None,
) -> None:
    """Figures of (n, examples, classes)."""
    with np.errstate(all="ignore"):
        top = logits.max(2, keepdims=True)
        logarithms = logits - top
        spread = np.exp(logarithms)
        total = spread.sum(2, keepdims=True)
        logarithms -= np.log(total)
        entropy = -(spread / total * np.maximum(logarithms, -1e4)).sum(2).mean(1)
        sums = logits.sum(2)
        columns = [logits.min((1, 2)), logits.max((1, 2)), sums.mean(1), sums.std(1), entropy]
        figures = np.stack(columns, 1).astype(np.float32)
    predictions, softmaxed = logits.argmax(2), _rows_of_probabilities(logits)
    together = labels is not None and labels.shape == predictions.shape
    accuracy = (predictions == labels).mean(1) if together else None
    for i, outcome in enumerate(outcomes):
        outcome.logits, outcome.predictions = figures[i], predictions[i]
        outcome.softmaxed = bool(softmaxed[i])
        outcome.accuracy = None if accuracy is None else float(accuracy[i])
    if targets is not None and targets.shape[1] == logits.shape[1]:
        _put_each(outcomes, _each(call, logits, logarithms, targets, labels))


def _put_each(outcomes: Sequence[Outcome], each: Array | None) -> None:
    for i, outcome in enumerate(outcomes):
        outcome.each = None if each is None else each[i]


def _each(
    call: LossCall, logits: Array, logarithms: Array, targets: Array, labels: Array | None
) -> Array | None:
    """The loss (n, examples) of each example, without the weights of classes."""
    classes = logits.shape[2]
    smoothing = float((call.settings or {}).get("label_smoothing", 0.0))
    with np.errstate(all="ignore"):
        if call.kind == "cross_entropy" and targets.shape == logits.shape:
            wanted = (1 - smoothing) * targets + smoothing / classes
            return np.asarray(-(wanted * logarithms).sum(2))
        if call.kind == "cross_entropy" and labels is not None:
            own = _picked(logarithms, labels)
            if not smoothing:
                return -own
            return np.asarray(-(1 - smoothing) * own - smoothing * logarithms.sum(2) / classes)
        if call.kind == "nll_loss" and labels is not None:
            return -_picked(logits, labels)
    return _elementwise(call.kind, logits, targets) if targets.shape == logits.shape else None


def _picked(values: Array, labels: Array) -> Array:
    """values[..., labels]; NaN for labels that are no class, such as those to be ignored."""
    inside = (labels >= 0) & (labels < values.shape[2])
    chosen = np.where(inside, labels, 0)[:, :, None]
    picked = np.take_along_axis(values, chosen, axis=2)[:, :, 0]
    return np.where(inside, picked, np.nan)


def _elementwise(kind: str, outputs: Array, targets: Array) -> Array | None:
    """(n, examples): the mean over everything but the batch."""
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
    return np.asarray(each.reshape(*each.shape[:2], -1).mean(2))
