"""What the checks of a finished model look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Result"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Predictions on photos that the model has not seen, and how it was trained."""

    probabilities: npt.NDArray[Any]
    """`(n, classes)`, calibrated."""
    labels: npt.NDArray[Any]
    """`(n,)`, class indices."""
    classes: Sequence[str]
    """Readable names by class index."""
    paths: Sequence[str] = ()
    """`(n,)`, for people; may be left out."""
    train_counts: Sequence[int] = ()
    """Training photos by class; may be left out."""
    train_metrics: Mapping[str, float] = field(default_factory=dict)
    """The model's figures on its own training photos; may be left out."""

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """`(n,)`, the likeliest class."""
        likeliest: npt.NDArray[np.int64] = np.asarray(self.probabilities).argmax(1)
        return likeliest

    @cached_property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """`(n,)`"""
        mistaken: npt.NDArray[np.bool_] = self.predicted != np.asarray(self.labels)
        return mistaken

    @property
    def count(self) -> int:
        """Photos."""
        return len(self.labels)

    @property
    def top1(self) -> float:
        """Share of photos predicted rightly."""
        return float(1 - self.wrong.mean()) if self.count else 0.0

    def examples(self, rows: npt.NDArray[np.int64], most: int = 20) -> tuple[str, ...]:
        """Paths of some rows, when there are any."""
        return tuple(self.paths[row] for row in rows[:most]) if self.paths else ()

    def train_count(self, class_index: int) -> int | None:
        """Training photos of a class, None when unknown."""
        return int(self.train_counts[class_index]) if len(self.train_counts) else None
