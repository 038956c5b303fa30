"""The colours and the font of every chart, once for light pages and once for dark ones.

A chart names roles (`style`, `range`), never colours, so that a page redraws it in the other
scheme by changing the configuration alone. Colours are those of Okabe and Ito, "Color Universal
Design", 2008, which people with any colour vision tell apart, lightened for the dark page.
"""

from __future__ import annotations

from typing import Any

__all__ = ["FONT", "VEGALITE_VERSION", "chart_config"]

FONT = "Inter"
VEGALITE_VERSION = "6.1"
"""What Altair 6 writes; vl-convert carries it."""

_LIGHT = {
    "ink": "#1b2430",
    "quiet": "#5a6675",
    "line": "#d5dbe3",
    "faint": "#e9edf2",
    "category": ["#0072b2", "#d55e00", "#009e73", "#a2528b", "#b38600", "#3a9bd4"],
    "heatmap": ["#e8eef5", "#b7d0e6", "#74a9d0", "#2f7fb5", "#0b5486", "#08304f"],
    "on_high": "#ffffff",
    "on_low": "#1b2430",
    "surface": "#ffffff",
}
_DARK = {
    "ink": "#e6ebf1",
    "quiet": "#a3afbd",
    "line": "#3a4552",
    "faint": "#2a333e",
    "category": ["#56b4e9", "#f09a4a", "#36c99b", "#dd94c0", "#e5c445", "#9fd3f2"],
    "heatmap": ["#243140", "#28506f", "#2f74a0", "#4a9bcb", "#84c4ea", "#d8efff"],
    "on_high": "#101820",
    "on_low": "#e6ebf1",
    "surface": "#1a2129",
}


def chart_config(scheme: str) -> dict[str, Any]:
    """The Vega-Lite configuration for `light` or `dark` pages."""
    c: dict[str, Any] = _DARK if scheme == "dark" else _LIGHT
    text = {"font": FONT, "fontSize": 12}
    return {
        "font": FONT,
        "background": None,
        "padding": 4,
        "view": {"stroke": None},
        "axis": {
            "labelFont": FONT,
            "labelFontSize": 12,
            "labelColor": c["quiet"],
            "titleFont": FONT,
            "titleFontSize": 12,
            "titleFontWeight": 600,
            "titleColor": c["ink"],
            "titlePadding": 10,
            "gridColor": c["faint"],
            "domainColor": c["line"],
            "tickColor": c["line"],
            "labelPadding": 6,
            "labelLimit": 220,
        },
        "legend": {
            "labelFont": FONT,
            "labelFontSize": 12,
            "labelColor": c["ink"],
            "titleFont": FONT,
            "titleFontSize": 12,
            "titleFontWeight": 600,
            "titleColor": c["ink"],
            "orient": "top",
            "symbolStrokeWidth": 2.5,
            "offset": 8,
            "gradientStrokeColor": c["line"],
        },
        "mark": {"color": c["category"][0]},
        "text": {**text, "color": c["ink"]},
        "range": {
            "category": c["category"],
            "heatmap": c["heatmap"],
            "ramp": c["heatmap"],
            "ordinal": c["heatmap"],
        },
        "style": {
            "guide": {"color": c["quiet"], "strokeDash": [5, 4], "strokeWidth": 1.2},
            "axis-rule": {"color": c["line"], "strokeWidth": 1.2},
            "label": {"color": c["quiet"], "font": FONT, "fontSize": 12},
            "on-dark-cell": {**text, "color": c["on_high"]},
            "on-light-cell": {**text, "color": c["on_low"]},
            "best": {"color": c["category"][1], "strokeWidth": 2.5},
            "best-point": {"color": c["category"][1]},
            "backdrop": {"color": c["faint"]},
        },
    }
