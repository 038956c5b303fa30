"""Whether the model's confidence can be believed."""

from __future__ import annotations

from collections.abc import Mapping

from houndsight.reporting.charts import reliability_diagram
from houndsight.reporting.charts.reliability import reliability_bins
from houndsight.reporting.document import Chart, Section
from houndsight.reporting.measurements import Measurements, mapping
from houndsight.reporting.text import measure, percent

__all__ = ["calibration"]


def calibration(m: Measurements) -> Section | None:
    """The reliability diagram with the expected calibration error."""
    bins = _bins(m)
    if not bins:
        return None
    total = sum(b["count"] for b in bins) or 1
    gap = sum(b["count"] * (b["accuracy"] - b["confidence"]) for b in bins) / total
    ece = m.metrics(m.headline).get("ece")
    if ece is None:
        ece = sum(b["count"] * abs(b["accuracy"] - b["confidence"]) for b in bins) / total
    chart = Chart(
        id="reliability",
        title="Reliability diagram",
        spec=reliability_diagram(bins),
        alt=f"Expected calibration error {percent(ece)}; on average the model is "
        f"{_direction(gap)}.",
        caption="Points on the dashed line mean what they say; below it the model is too sure. "
        "Larger points hold more photos.",
        height=360,
        max_width=430,
    )
    return Section(id="calibration", title="Calibration", lead=_lead(m, ece, gap), blocks=(chart,))


def _lead(m: Measurements, ece: float, gap: float) -> str:
    text = (
        f"The expected calibration error is {percent(ece)}: so far the confidence is from the "
        f"share of right answers, on average. The model is {_direction(gap)}."
    )
    temperature = m.results.get("temperature")
    if isinstance(temperature, int | float):
        text += f" Its logits are divided by the temperature {measure(float(temperature))}."
    return text


def _direction(gap: float) -> str:
    if abs(gap) < 0.01:
        return "neither too sure nor too doubtful"
    return f"too {'doubtful' if gap > 0 else 'sure'} by {percent(abs(gap))}"


def _bins(m: Measurements) -> list[dict[str, float]]:
    """The bins that the run holds, or else those of the predictions."""
    held = mapping(m.results.get("reliability")).get("bins") or []
    keys = ("confidence", "accuracy", "count")
    bins = [
        {k: float(b[k]) for k in keys}
        for b in held
        if isinstance(b, Mapping) and all(isinstance(b.get(k), int | float) for k in keys)
    ]
    rows = m.evaluated()
    if not bins and rows is not None:
        bins = reliability_bins(rows.confidence, rows.labels == rows.predicted)
    return [b for b in bins if b["count"] > 0]
