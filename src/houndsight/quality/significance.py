"""The tests behind the verdicts, so that chance is not told as a fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, hypergeom

__all__ = ["at_least", "holm", "more_often", "stratified_excess"]


def at_least(count: int, trials: int, share: float) -> float:
    """The chance of `count` or more of `trials` when each happens with probability `share`."""
    return float(binom.sf(count - 1, trials, share))


def more_often(count: int, trials: int, other_count: int, other_trials: int) -> float:
    """The chance of so many or more of `trials` when the others do it as often (Fisher 1935)."""
    total, happened = trials + other_trials, count + other_count
    return float(hypergeom.sf(count - 1, total, happened, trials))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for how many there are (Holm 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def stratified_excess(
    wrong: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_], strata: npt.NDArray[Any]
) -> tuple[float, float]:
    """Whether a group has more mistakes than its own classes explain.

    The exact conditional test of a common odds ratio over 2 by 2 tables (Mehta, Patel and Gray
    1985): within each stratum the group's mistakes are hypergeometric when the group does not
    matter, and their sum is the convolution of those.

    Args:
        wrong: `(n,)`, whether the photo was a mistake.
        inside: `(n,)`, whether it belongs to the group.
        strata: `(n,)`, its class.

    Returns:
        The expected number of mistakes in the group, and the chance of as many or more as there
        are.
    """
    chances, expected = np.ones(1), 0.0
    offset = 0
    for stratum in np.unique(strata[inside]):
        rows = strata == stratum
        total, bad, drawn = int(rows.sum()), int(wrong[rows].sum()), int(inside[rows].sum())
        low, high = max(0, drawn - (total - bad)), min(bad, drawn)
        chances = np.convolve(chances, hypergeom.pmf(np.arange(low, high + 1), total, bad, drawn))
        offset += low
        expected += drawn * bad / total
    seen = int(wrong[inside].sum()) - offset
    return expected, float(min(1.0, chances[max(seen, 0) :].sum()))
