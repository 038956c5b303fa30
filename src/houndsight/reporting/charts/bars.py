"""Horizontal bars with their values beside them: time per stage, importance, photos a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from houndsight.reporting.charts.base import chart_of

__all__ = ["bars"]


def bars(rows: Sequence[tuple[str, float, str]], *, title: str) -> dict[str, Any]:
    """Bars of `(name, value, text beside it)`, in the order given."""
    values = [{"order": n, "name": r[0], "value": r[1], "text": r[2]} for n, r in enumerate(rows)]
    top = max((row[1] for row in rows), default=1.0) or 1.0
    # Room for the texts even on a narrow page, where bars have about 200 px.
    room = 1 + max(0.18, 0.032 * max((len(row[2]) for row in rows), default=0))
    base = chart_of(values).encode(
        y=alt.Y("name:N", sort=[row[0] for row in rows], title=None, axis=_NAMES)
    )
    across = alt.X(
        "value:Q",
        title=None,
        scale=alt.Scale(domain=[0, top * room], nice=False),
        axis=alt.Axis(labels=False, ticks=False, grid=False, domain=False),
    )
    marks = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.62}).encode(
        x=across, tooltip=[alt.Tooltip("name:N", title=" "), alt.Tooltip("text:N", title=title)]
    )
    texts = base.mark_text(style="label", align="left", dx=6).encode(x="value:Q", text="text:N")
    return alt.layer(marks, texts).to_dict(validate=False)


_NAMES = alt.Axis(domain=False, ticks=False, labelLimit=200)
