"""Grid search."""

from __future__ import annotations

import math
from dataclasses import dataclass

from houndsight.errors import SettingError
from houndsight.tuning.history import History
from houndsight.tuning.parameters import Value
from houndsight.tuning.strategies.base import Strategy

__all__ = ["Grid"]

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Grid(Strategy):
    """Every combination once: all values of a category, `points` values of a range.

    The order jumps by about the golden ratio of the grid, so that a search which ends before
    the grid does has seen all of it thinly rather than one corner.
    """

    points: int = 5
    """Values taken from each range, both ends included."""

    def __post_init__(self) -> None:
        if self.points < 2:
            raise SettingError(f"Grid's points is {self.points}; it must be at least 2.")

    def suggest(self, history: History) -> dict[str, Value] | None:
        """The next combination, or None after the last."""
        values = {name: p.grid(self.points) for name, p in history.space.items()}
        size = math.prod(len(column) for column in values.values())
        index = history.number - history.given
        if index >= size:
            return None
        place = (history.seed + index * _stride(size)) % size
        chosen: dict[str, Value] = {}
        for name, column in values.items():
            place, at = divmod(place, len(column))
            chosen[name] = column[at]
        return chosen


def _stride(size: int) -> int:
    """A step near the golden ratio of `size` without a common factor, so none is visited twice."""
    stride = max(1, round(size * GOLDEN))
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride
