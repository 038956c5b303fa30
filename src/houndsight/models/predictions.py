"""What a model says about photos: probabilities, and an error for each photo it could not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from houndsight.data.names import ClassName

__all__ = ["Predictions", "softmax"]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One row for each photo asked for, in the order asked."""

    probabilities: NDArray[np.float32]
    """`(photos, classes)`, calibrated; the row of a photo in `errors` is NaN."""
    classes: tuple[ClassName, ...]
    errors: dict[int, str] = field(default_factory=dict)
    """Row number -> why that photo could not be read."""

    def __len__(self) -> int:
        return len(self.probabilities)

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """The `k` likeliest classes of each photo, likeliest first; empty for a bad photo."""
        return [
            [] if row in self.errors else top_of(self.probabilities[row], self.classes, k)
            for row in range(len(self))
        ]


def top_of(
    probabilities: NDArray[np.float32], classes: Sequence[ClassName], k: int
) -> list[tuple[str, float]]:
    """The `k` likeliest of one photo's `(classes,)` probabilities; ties in class order."""
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [(classes[index].name, float(probabilities[index])) for index in order]


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities of `(photos, classes)` logits divided by `temperature`.

    Temperature scaling: Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 9.
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
