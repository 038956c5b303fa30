from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from houndsight.reporting.thin import MOST_POINTS, thin


@given(st.integers(0, 6000), st.integers(3, 300))
def test_thinned_series_keeps_ends_and_order(n: int, points: int) -> None:
    kept = thin(np.arange(n), np.sin(np.arange(n)), points)
    assert len(kept) == min(n, points)
    assert (np.diff(kept) > 0).all()
    if n:
        assert kept[0] == 0 and kept[-1] == n - 1


def test_a_short_series_is_kept_whole() -> None:
    assert thin(range(10), range(10)).tolist() == list(range(10))


def test_a_single_peak_survives() -> None:
    y = np.zeros(50_000)
    y[31_415] = 9.0
    kept = thin(np.arange(50_000), y)
    assert len(kept) == MOST_POINTS
    assert 31_415 in kept


def test_values_that_are_no_numbers_do_not_disturb() -> None:
    y = np.full(5000, np.nan)
    assert len(thin(np.arange(5000), y, 100)) == 100
