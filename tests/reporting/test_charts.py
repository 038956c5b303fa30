from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import vl_convert

from houndsight.reporting.charts import (
    VEGALITE_VERSION,
    bars,
    chart_config,
    confusion_map,
    learning_curve,
    parallel_coordinates,
    parameter_importance,
    reliability_diagram,
    trial_values,
)
from houndsight.reporting.charts.reliability import reliability_bins


def trials(number: int = 30) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    rows = []
    for index in range(number):
        rate, kind = float(10 ** random.uniform(-4, -1)), str(random.choice(["a", "b"]))
        rows.append(
            {
                "number": index,
                "parameters": {"rate": rate, "kind": kind, "same": 3},
                "value": (np.log10(rate) + 2) ** 2 + 0.01 * (kind == "a"),
            }
        )
    return rows


CHARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "bars": lambda: bars([("one", 1.0, "1 s"), ("none", 0.0, "0 s")], title="time"),
    "no bars": lambda: bars([], title="time"),
    "curve": lambda: learning_curve(
        {"training": [(1, 2.0), (2, 1.0)], "validation": [(1, 2.5)]},
        across="epoch",
        along="loss",
        best=1.0,
    ),
    "small confusion": lambda: confusion_map(np.array([[3, 1], [0, 4]]), ["a", "b"]),
    "large confusion": lambda: confusion_map(np.eye(60, dtype=int), [f"c{i}" for i in range(60)]),
    "parallel": lambda: parallel_coordinates(
        trials(), ["rate", "kind"], objective="nll", best=3, minimize=True
    ),
    "progress": lambda: trial_values(trials(), objective="nll", minimize=True),
    "reliability": lambda: reliability_diagram([{"confidence": 0.9, "accuracy": 0.8, "count": 5}]),
}


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_draws_in_the_reports_font(name: str, scheme: str) -> None:
    spec = {**CHARTS[name](), "width": 400, "height": 300}
    svg = vl_convert.vegalite_to_svg(
        spec, vl_version=VEGALITE_VERSION, config=chart_config(scheme), allowed_base_urls=[]
    )
    assert svg.startswith("<svg") and "serif" not in svg.replace("sans-serif", "")
    assert "NaN" not in svg


def test_the_stressed_trial_and_the_staircase_have_their_own_colour() -> None:
    config = chart_config("light")
    svg = vl_convert.vegalite_to_svg(
        {**CHARTS["progress"](), "width": 400, "height": 300},
        vl_version=VEGALITE_VERSION,
        config=config,
    )
    assert config["style"]["best"]["color"] in svg


def test_a_long_curve_is_thinned() -> None:
    points = [(float(i), float(np.sin(i))) for i in range(20_000)]
    spec = learning_curve({"training": points}, across="step", along="loss")
    assert len(json.dumps(spec)) < 400_000


def test_importance_finds_what_mattered() -> None:
    found = parameter_importance(trials())
    assert set(found) == {"rate", "kind"}
    assert found["rate"] > 0.8 and sum(found.values()) == pytest.approx(1)
    assert parameter_importance(trials(4)) == {}
    assert parameter_importance([]) == {}


def test_reliability_bins_hold_every_photo() -> None:
    confidence = np.array([0.05, 0.5, 0.99, 1.0], np.float32)
    bins = reliability_bins(confidence, np.array([False, True, True, True]), bins=10)
    assert sum(b["count"] for b in bins) == 4
    assert bins[-1] == {"confidence": pytest.approx(0.995), "accuracy": 1.0, "count": 2}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_from_the_page(scheme: str) -> None:
    config = chart_config(scheme)
    page = "#ffffff" if scheme == "light" else "#1a2129"
    for colour in config["range"]["category"]:
        assert contrast(colour, page) >= 3.0, colour  # WCAG 2.2, 1.4.11
    assert contrast(config["axis"]["labelColor"], page) >= 4.5


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2's relative luminances."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
