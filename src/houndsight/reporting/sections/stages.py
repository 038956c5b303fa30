"""Where the time went."""

from __future__ import annotations

from houndsight.reporting.charts import bars
from houndsight.reporting.document import Chart, Section
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.text import clean, shorten
from houndsight.wording import duration

__all__ = ["stages"]


def stages(m: Measurements) -> Section | None:
    """Bars of the seconds of each stage."""
    taken = [
        (clean(name, limit=60), float(stage["seconds"]), clean(stage.get("text") or "", limit=160))
        for name, stage in m.stages.items()
        if isinstance(stage.get("seconds"), int | float)
    ]
    if not taken:
        return None
    total = sum(seconds for _, seconds, _ in taken)
    longest = max(taken, key=lambda t: t[1])
    chart = Chart(
        id="stages",
        title="Time per stage",
        spec=bars([(_name(n), s, duration(s)) for n, s, _ in taken], title="time"),
        alt="; ".join(f"{n} {duration(s)}" for n, s, _ in taken) + ".",
        height=30 * len(taken) + 10,
    )
    lead = f"The stages took {duration(total)} in all, most of it “{_name(longest[0])}”."
    return Section(id="time", title="Time", lead=lead, blocks=(chart,))


def _name(stage: str) -> str:
    words = stage.replace("_", " ")
    return shorten(words[:1].upper() + words[1:], 32)
