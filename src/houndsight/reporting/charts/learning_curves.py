"""A learning curve: one figure over the epochs, a line a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from houndsight.reporting.charts.base import chart_of
from houndsight.reporting.thin import thin

__all__ = ["learning_curve"]


def learning_curve(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    along: str,
    share: bool = False,
    best: float | None = None,
) -> dict[str, Any]:
    """Lines of `{split: [(x, y), ...]}`, each thinned; `best` marks the x that was kept."""
    values = [
        {"split": split, "x": x, "y": y}
        for split, points in series.items()
        for x, y in _thinned(points)
    ]
    form = ".1%" if share else ".4~f"
    lines = (
        chart_of(values)
        .mark_line(strokeWidth=2, point={"size": 22} if len(values) <= 80 else False)
        .encode(
            x=alt.X("x:Q", title=across, axis=alt.Axis(grid=False, tickMinStep=1, format="~s")),
            y=alt.Y(
                "y:Q",
                title=along,
                scale=alt.Scale(zero=False, nice=True),
                axis=alt.Axis(format="%" if share else "~g", tickCount=5),
            ),
            color=alt.Color("split:N", title=None, sort=list(series)),
            strokeDash=alt.StrokeDash("split:N", title=None, sort=list(series), legend=None),
            tooltip=[
                alt.Tooltip("split:N", title="split"),
                alt.Tooltip("x:Q", title=across, format="~f"),
                alt.Tooltip("y:Q", title=along, format=form),
            ],
        )
    )
    layers: list[Any] = [lines]
    if best is not None:
        mark = chart_of([{"x": best, "text": "kept"}])
        layers.append(mark.mark_rule(style="guide").encode(x="x:Q"))
        layers.append(
            mark.mark_text(style="label", align="left", dx=5, dy=7, baseline="top").encode(
                x="x:Q", y=alt.value(0), text="text:N"
            )
        )
    return alt.layer(*layers).to_dict(validate=False)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept = thin([p[0] for p in points], [p[1] for p in points])
    return [points[index] for index in kept]
