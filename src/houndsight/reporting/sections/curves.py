"""Learning curves: loss and top-1 as the training went on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from houndsight.reporting.charts import learning_curve
from houndsight.reporting.document import Block, Chart, Note, Section
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.standing import SPLIT_WORDS
from houndsight.reporting.text import clean, measure, percent
from houndsight.wording import plural

__all__ = ["curves"]

Series = dict[str, list[tuple[float, float]]]


def curves(m: Measurements) -> Section | None:
    """A chart for the loss and one for top-1, over epochs where there are several, else steps."""
    if not m.curves:
        return None
    epochs = _distinct(m.curves, "epoch")
    across = "epoch" if epochs > 1 else "step"
    rate = _steps_an_epoch(m.curves, epochs) if epochs > 1 else 1.0
    blocks: list[Block] = []
    for key, along, share in (("loss", "loss", False), ("top1", "top-1", True)):
        series = _series(m.curves, key, rate)
        if any(len(points) > 1 for points in series.values()):
            blocks.append(
                _chart(m, series, key=key, along=along, across=across, share=share, rate=rate)
            )
    broken = sum(1 for row in m.curves if _broken(row))
    if broken:
        text = f"{plural(broken, 'measurement')} of the loss are not finite and are left out."
        blocks.append(Note(text=text, level="error"))
    if not blocks:
        return None
    return Section(id="curves", title="Learning curves", blocks=tuple(blocks), lead=_lead(m))


def _chart(
    m: Measurements, series: Series, *, key: str, along: str, across: str, share: bool, rate: float
) -> Chart:
    best = _best(m, rate) if key == "loss" else None
    told = [f"{s} {_ends(p, share)}" for s, p in series.items() if p]
    return Chart(
        id=f"curve-{key}",
        title=along[:1].upper() + along[1:],
        spec=learning_curve(series, across=across, along=along, share=share, best=best),
        alt=f"{along.capitalize()} over {across}s: {'; '.join(told)}.",
        height=240,
        wide=False,
    )


def _ends(points: list[tuple[float, float]], share: bool) -> str:
    first, last = points[0][1], points[-1][1]
    show = percent if share else measure
    return f"from {show(first)} to {show(last)}"


def _steps_an_epoch(rows: Sequence[dict[str, Any]], epochs: int) -> float:
    """Steps are drawn as parts of an epoch, so that measurements within one do not coincide."""
    steps = (_finite(row.get("step")) for row in rows)
    return max((step for step in steps if step), default=float(epochs)) / epochs


def _series(rows: Sequence[dict[str, Any]], key: str, rate: float = 1.0) -> Series:
    series: Series = {}
    for row in rows:
        x, y = _finite(row.get("step")), _finite(row.get(key))
        if x is not None and y is not None:
            split = clean(row.get("split", ""), limit=40)
            series.setdefault(SPLIT_WORDS.get(split, split), []).append((x / rate, y))
    return {split: sorted(points) for split, points in series.items()}


def _best(m: Measurements, rate: float) -> float | None:
    """Where the validation loss was lowest: that state was kept."""
    valid = _series(m.curves, "loss", rate).get("validation", [])
    return min(valid, key=lambda point: point[1])[0] if len(valid) > 1 else None


def _lead(m: Measurements) -> str:
    """What the curves say, when they say something."""
    valid = _series(m.curves, "loss").get("validation", [])
    if len(valid) < 3:
        return ""
    lowest, last = min(y for _, y in valid), valid[-1][1]
    if last > 1.05 * lowest:
        return (
            f"The validation loss rose again after its lowest point ({measure(lowest)}, at the end "
            f"{measure(last)}); the weights of the lowest point were kept."
        )
    # One epoch says little: the last third against all that was reached before it.
    before = min(y for _, y in valid[: -math.ceil(len(valid) / 3)])
    if last > 0.98 * before:
        return f"The validation loss has levelled off at {measure(last)}."
    planned, made = m.plan.get("epochs"), _distinct(m.curves, "epoch")
    early = f" after {made} of {planned} planned epochs" if planned and planned > made else ""
    return f"The validation loss was still falling at the end{early}: more epochs may help."


def _broken(row: dict[str, Any]) -> bool:
    loss = row.get("loss")
    return isinstance(loss, float) and not math.isfinite(loss)


def _finite(value: object) -> float | None:
    """`value` if it is a number that can be drawn."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _distinct(rows: Sequence[dict[str, Any]], key: str) -> int:
    return len({row.get(key) for row in rows if row.get(key) is not None})
