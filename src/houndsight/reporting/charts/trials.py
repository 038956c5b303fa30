"""The objective of each trial and the best so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from houndsight.reporting.charts.base import chart_of

__all__ = ["trial_values"]


def trial_values(
    trials: Sequence[Mapping[str, Any]], *, objective: str, minimize: bool
) -> dict[str, Any]:
    """A point a finished trial and the staircase of the best value so far."""
    values, best = [], None
    for trial in trials:
        value = float(trial["value"])
        better = best is None or (value < best if minimize else value > best)
        best = value if better else best
        values.append({"number": trial["number"], "value": value, "best": best})
    base = chart_of(values).encode(
        x=alt.X("number:Q", title="trial", axis=alt.Axis(grid=False, tickMinStep=1, format="d"))
    )
    along = alt.Y("value:Q", title=objective, scale=alt.Scale(zero=False))
    points = base.mark_point(filled=True, size=42, opacity=0.75).encode(
        y=along,
        tooltip=[
            alt.Tooltip("number:Q", title="trial"),
            alt.Tooltip("value:Q", title=objective, format=".4~f"),
            alt.Tooltip("best:Q", title="best so far", format=".4~f"),
        ],
    )
    stairs = base.mark_line(style="best", interpolate="step-after").encode(y="best:Q")
    return alt.layer(stairs, points).to_dict(validate=False)
