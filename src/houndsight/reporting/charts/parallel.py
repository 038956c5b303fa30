"""Parallel coordinates of a search: an axis a hyperparameter, a line a trial.

A. Inselberg, "The plane with parallel coordinates", The Visual Computer 1, 1985.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from houndsight.reporting.charts.base import chart_of
from houndsight.reporting.charts.importance import is_logarithmic, is_numeric
from houndsight.reporting.text import measure, shorten
from houndsight.reporting.thin import MOST_POINTS

__all__ = ["parallel_coordinates"]

MOST_NAMED = 6


def parallel_coordinates(
    trials: Sequence[Mapping[str, Any]],
    parameters: Sequence[str],
    *,
    objective: str,
    best: int,
    minimize: bool,
) -> dict[str, Any]:
    """Lines through the value of each parameter and of the objective, the best trial stressed.

    Each axis runs from the lowest to the highest value tried, logarithmic ones by their
    logarithm; categories stand in order. With many trials the worst are left out.
    """
    shown = _best(trials, MOST_POINTS // (len(parameters) + 1), minimize)
    columns = {p: [t["parameters"][p] for t in shown] for p in parameters}
    columns[objective] = [t["value"] for t in shown]
    heights = {name: _heights(values) for name, values in columns.items()}
    rows = [
        {
            "trial": trial["number"],
            "axis": name,
            "height": heights[name][index],
            "text": measure(columns[name][index]),
            "value": trial["value"],
        }
        for index, trial in enumerate(shown)
        for name in columns
    ]
    place = {
        "x": alt.X(
            "axis:N",
            title=None,
            scale=alt.Scale(type="point", padding=0.35, domain=list(columns)),
            axis=alt.Axis(orient="top", domain=False, ticks=False, labelAngle=0, labelPadding=26),
        ),
        "y": alt.Y("height:Q", axis=None, scale=alt.Scale(domain=[0, 1])),
    }
    lines = chart_of(rows).encode(
        **place,
        detail="trial:N",
        tooltip=[
            alt.Tooltip("trial:Q", title="trial"),
            alt.Tooltip("axis:N", title="axis"),
            alt.Tooltip("text:N", title="value"),
            alt.Tooltip("value:Q", title=objective, format=".4~f"),
        ],
    )
    every = lines.transform_filter(f"datum.trial !== {best}").mark_line(
        strokeWidth=1.3, opacity=0.4
    )
    kept = lines.transform_filter(f"datum.trial === {best}")
    return alt.layer(
        _axes(list(columns), place),
        every,
        kept.mark_line(style="best"),
        kept.mark_point(style="best-point", size=60, opacity=1, filled=True),
        *_ends(columns, place),
    ).to_dict(validate=False)


def _best(
    trials: Sequence[Mapping[str, Any]], most: int, minimize: bool
) -> list[Mapping[str, Any]]:
    return sorted(trials, key=lambda t: t["value"] if minimize else -t["value"])[: max(most, 1)]


def _heights(values: Sequence[Any]) -> list[float]:
    """Where each value stands on its axis, 0 at the bottom."""
    if not is_numeric(values):
        order = sorted({str(v) for v in values})
        return [order.index(str(v)) / max(len(order) - 1, 1) for v in values]
    scaled = [math.log(v) for v in values] if is_logarithmic(values) else list(map(float, values))
    low, high = min(scaled), max(scaled)
    return [0.5 if high == low else round((v - low) / (high - low), 4) for v in scaled]


def _axes(names: Sequence[str], place: Mapping[str, Any]) -> Any:
    rows = [{"axis": name, "height": 0, "high": 1} for name in names]
    return chart_of(rows).mark_rule(style="axis-rule").encode(**place, y2="high:Q")


def _ends(columns: Mapping[str, Sequence[Any]], place: Mapping[str, Any]) -> list[Any]:
    """What stands at the bottom and top of each axis, and at categories between them."""
    layers = _between(columns, place)
    for height, pick, shift, baseline in ((0, 0, 8, "top"), (1, -1, -8, "bottom")):
        rows = [
            {"axis": name, "height": height, "text": _end(values, pick)}
            for name, values in columns.items()
        ]
        marks = chart_of(rows).mark_text(style="label", dy=shift, baseline=baseline)
        layers.append(marks.encode(**place, text="text:N"))
    return layers


def _between(columns: Mapping[str, Sequence[Any]], place: Mapping[str, Any]) -> list[Any]:
    """Categories that stand neither at the bottom nor at the top, where they are not too many."""
    rows = []
    for name, values in columns.items():
        inner = [] if is_numeric(values) else sorted({str(v) for v in values})[1:-1]
        rows += [
            {"axis": name, "height": (i + 1) / (len(inner) + 1), "text": shorten(text, 22)}
            for i, text in enumerate(inner)
            if len(inner) <= MOST_NAMED
        ]
    if not rows:
        return []
    marks = chart_of(rows).mark_text(style="label", align="left", dx=6)
    return [marks.encode(**place, text="text:N")]


def _end(values: Sequence[Any], pick: int) -> str:
    ordered = sorted(values) if is_numeric(values) else sorted({str(v) for v in values})
    return shorten(measure(ordered[pick]), 22)
