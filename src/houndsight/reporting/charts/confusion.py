"""The confusion matrix as a heat map; with many classes it is a picture, not a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from houndsight.reporting.charts.base import chart_of

__all__ = ["NAMED_CLASSES", "confusion_map"]

NAMED_CLASSES = 24
"""Up to here the classes are named along the axes."""
COUNTED_CLASSES = 12
"""Up to here the counts stand in the cells, and no legend is needed."""


def confusion_map(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """Rows are true classes, columns predicted ones; colour is the share of the row.

    `matrix` is `(classes, classes)` counts; `names` must differ from each other. Empty
    cells are not drawn, so 120 classes stay light.
    """
    classes = len(names)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    values = [
        {
            "n": int(matrix[t, p]),
            "share": round(float(share[t, p]), 4),
            "true": names[t],
            "predicted": names[p],
        }
        for t, p in zip(*np.nonzero(matrix), strict=True)
    ]
    named = classes <= NAMED_CLASSES
    base = chart_of(values).encode(
        x=alt.X(
            "predicted:O",
            title="predicted class",
            scale=_band(names),
            axis=_axis(0 if _fit_level(names) else -40, named),
        ),
        y=alt.Y("true:O", title="true class", scale=_band(names), axis=_axis(0, named)),
    )
    cells = base.mark_rect().encode(
        color=alt.Color(
            "share:Q",
            title="share of the true class",
            scale=alt.Scale(domain=[0, 1], range="heatmap"),
            legend=None
            if classes <= COUNTED_CLASSES
            else alt.Legend(format="%", gradientLength=160, titleOrient="left", values=[0, 0.5, 1]),
        ),
        tooltip=[
            alt.Tooltip("true:N", title="true"),
            alt.Tooltip("predicted:N", title="predicted"),
            alt.Tooltip("n:Q", title="photos"),
            alt.Tooltip("share:Q", title="share of the true class", format=".0%"),
        ],
    )
    grid = (
        chart_of([{}])
        .mark_rect(style="backdrop")
        .encode(x=alt.value(0), y=alt.value(0), x2=alt.value("width"), y2=alt.value("height"))
    )
    layers: list[Any] = [grid, cells]
    if classes <= COUNTED_CLASSES:
        layers += _counts(base)
    return alt.layer(*layers).to_dict(validate=False)


def _fit_level(names: Sequence[str]) -> bool:
    """Whether the names have room beside each other; cells of few classes are this wide."""
    return len(names) <= 4 and max(map(len, names)) <= 12


def _counts(base: Any) -> list[Any]:
    """The counts in the cells, dark or light by the cell under them, in either scheme."""
    return [
        base.transform_filter(f"datum.share {sign} 0.5").mark_text(style=style).encode(text="n:Q")
        for sign, style in ((">=", "on-dark-cell"), ("<", "on-light-cell"))
    ]


def _band(names: Sequence[str]) -> Any:
    return alt.Scale(domain=list(names), padding=0.04 if len(names) <= NAMED_CLASSES else 0)


def _axis(angle: int, named: bool) -> Any:
    return alt.Axis(
        labels=named,
        labelAngle=angle,
        ticks=False,
        domain=False,
        labelLimit=130,
        labelOverlap=False,
    )
