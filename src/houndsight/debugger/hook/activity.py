"""Units that are never active, and units that sit in the flat part of a squashing function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.hook.activations import RECTIFIERS, SQUASHERS
from houndsight.debugger.record import Statistic

__all__ = ["Activity"]

Array = npt.NDArray[Any]
ENOUGH = 128
"""Looks at a unit before anything is said of it: one that is active in 5 % of the examples is
missed by all of them in 0.14 % of the blocks."""
FLAT = 0.01
"""Where the slope is below this share of its largest value the function is flat."""
MOSTLY = 0.95
"""A unit is saturated when this share of its values lies in the flat part."""


class Activity:
    """Counts over forwards until enough was seen of every unit."""

    def __init__(self, names: Sequence[str], kinds: Sequence[str]) -> None:
        self._names, self._kinds = names, kinds
        self._counts: dict[int, tuple[int, Array]] = {}

    def note(self, slot: int, each: int, values: Array) -> None:
        """Take in a sample (units * each,) of a module's output."""
        kind = self._kinds[slot]
        if kind not in RECTIFIERS + SQUASHERS:
            return
        rows = values.reshape(-1, each)
        if kind in RECTIFIERS:
            hits = (rows > 0).sum(1)
        elif kind in ("Tanh", "tanh()"):
            hits = (1 - rows**2 < FLAT).sum(1)
        else:
            hits = (4 * rows * (1 - rows) < FLAT).sum(1)
        count, before = self._counts.get(slot, (0, np.zeros(len(rows), np.int64)))
        if len(before) == len(hits):
            self._counts[slot] = (count + each, before + hits)
        else:
            self._counts[slot] = (each, hits)

    def shares(self) -> dict[Statistic, dict[str, float]]:
        """By statistic and module, for those of which enough was seen; they start again."""
        found: dict[Statistic, dict[str, float]] = {}
        for slot, (count, hits) in list(self._counts.items()):
            if count < ENOUGH:
                continue
            del self._counts[slot]
            rectifier = self._kinds[slot] in RECTIFIERS
            share = (hits == 0).mean() if rectifier else (hits >= MOSTLY * count).mean()
            statistic = Statistic.INACTIVE if rectifier else Statistic.SATURATED
            found.setdefault(statistic, {})[self._names[slot]] = float(share)
        return found
