"""The reliability diagram: how often the model is right when it is so sure.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from houndsight.reporting.charts.base import chart_of

__all__ = ["reliability_bins", "reliability_diagram"]


def reliability_bins(
    confidence: NDArray[np.float32], correct: NDArray[np.bool_], bins: int = 15
) -> list[dict[str, float]]:
    """Mean confidence, accuracy and count in `bins` equal-width bins; empty ones are left out."""
    index = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    return [
        {
            "confidence": float(confidence[index == b].mean()),
            "accuracy": float(correct[index == b].mean()),
            "count": int((index == b).sum()),
        }
        for b in range(bins)
        if (index == b).any()
    ]


def reliability_diagram(bins: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Accuracy over confidence, points as large as their share of photos, beside the diagonal."""
    total = sum(b["count"] for b in bins) or 1
    values = [
        {**b, "share": b["count"] / total, "gap": b["accuracy"] - b["confidence"]} for b in bins
    ]
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])
    scale = alt.Scale(domain=[0, 1])
    diagonal = (
        chart_of([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
        .mark_line(style="guide")
        .encode(x="x:Q", y="y:Q")
    )
    base = chart_of(values).encode(
        x=alt.X("confidence:Q", title="confidence of the model", scale=scale, axis=axis),
    )
    gaps = base.mark_rule(strokeWidth=1.5, opacity=0.5).encode(
        y=alt.Y("accuracy:Q", title="share it got right", scale=scale, axis=axis),
        y2="confidence:Q",
    )
    points = base.mark_point(filled=True, opacity=0.95).encode(
        y="accuracy:Q",
        size=alt.Size("share:Q", legend=None, scale=alt.Scale(range=[25, 420], domain=[0, 0.6])),
        tooltip=[
            alt.Tooltip("confidence:Q", title="confidence", format=".1%"),
            alt.Tooltip("accuracy:Q", title="right", format=".1%"),
            alt.Tooltip("gap:Q", title="difference", format="+.1%"),
            alt.Tooltip("count:Q", title="photos"),
        ],
    )
    return alt.layer(diagonal, gaps, points).to_dict(validate=False)
