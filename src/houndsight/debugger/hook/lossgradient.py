"""What came back to the model's output: how it compares with the gradient of the mean loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.hook.losses import LossCall
from houndsight.debugger.hook.recording import Forward
from houndsight.debugger.hook.sampling import to_numpy

__all__ = ["MOST_VALUES", "LossGradient", "loss_gradient"]

MOST_VALUES = 2**18
"""Outputs with more values are left alone."""
NOTHING = 1e-9
"""A row under this share of the longest one has no gradient."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class LossGradient:
    """NaN where a figure cannot be told."""

    rows: float
    """Share of the examples to which any gradient came back."""
    scale: float
    """Times the gradient of the mean cross-entropy: 1 as it should be, -1 for a negated loss, the
    size of the batch for a sum."""
    alignment: float
    """Cosine of the two."""


def loss_gradient(forward: Forward) -> LossGradient | None:
    """Of a forward whose gradient was kept."""
    if forward.gradient is None:
        return None
    gradient = to_numpy(forward.gradient)
    if gradient.ndim != 2 or not gradient.size:
        return None
    with np.errstate(all="ignore"):
        lengths = np.sqrt(np.square(gradient, dtype=np.float64).sum(1))
        if not np.isfinite(lengths).all():
            return None
        longest = float(lengths.max())
        rows = float((lengths > NOTHING * longest).mean()) if longest > 0 else 0.0
        expected = _expected(forward.losses[0], gradient.shape) if forward.losses else None
        if expected is None or not longest:
            return LossGradient(rows, np.nan, np.nan)
        product = float((gradient * expected).sum())
        own, length = float(np.square(expected).sum()), float(np.sqrt(np.square(lengths).sum()))
        return LossGradient(rows, product / own, product / (length * np.sqrt(own)))


def _expected(call: LossCall, shape: tuple[int, ...]) -> Array | None:
    """(n, classes) gradient of the mean cross-entropy of the same logits and targets."""
    kept = call.kept_logits()
    if call.kind != "cross_entropy" or kept is None or call.targets is None or kept.shape != shape:
        return None
    logits, targets = to_numpy(kept).astype(np.float64), call.targets.cpu().numpy()
    spread = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = spread / spread.sum(1, keepdims=True)
    wanted = _wanted(targets, shape)
    if wanted is None:
        return None
    expected = np.asarray((probabilities - wanted) / shape[0])
    return expected if np.isfinite(expected).all() and expected.any() else None


def _wanted(targets: Array, shape: tuple[int, ...]) -> Array | None:
    """(n, classes) rows that the probabilities should be."""
    if targets.shape == shape:
        return np.asarray(targets, np.float64)
    if targets.shape != shape[:1] or targets.dtype.kind not in "iu":
        return None
    if (targets < 0).any() or (targets >= shape[1]).any():
        return None
    return np.asarray(np.eye(shape[1])[targets])
