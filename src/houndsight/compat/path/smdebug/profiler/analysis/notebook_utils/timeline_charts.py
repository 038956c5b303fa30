"""The samples of the system as charts, one below the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...utils import TimeUnits

__all__ = ["TimelineCharts"]

POINTS = 2_000
"""More are thinned for the chart."""


class TimelineCharts:
    """Draws dimensions (`CPUUtilization` …) and their parts (`cpu0`, `total` …) over time.

    Args:
        system_metrics_reader: of the samples.
        framework_metrics_reader: of the steps; may be None.
        starttime: microseconds since the epoch.
        endtime: the same; None for all there is.
        select_dimensions: expressions of dimensions, `CPU`, `GPU`, `I/O`, `Memory` …
        select_events: expressions of parts; `total` is the mean of a dimension's parts.
        x: how many of the last samples are shown.
        show_workers: whether hosts are drawn apart.
    """

    def __init__(
        self,
        system_metrics_reader: Any,
        framework_metrics_reader: Any = None,
        starttime: float = 0,
        endtime: float | None = None,
        select_dimensions: Sequence[str] = (".*",),
        select_events: Sequence[str] = (".*",),
        x: int = 1000,
        show_workers: bool = True,
    ) -> None:
        self.system_metrics_reader = system_metrics_reader
        self.framework_metrics_reader = framework_metrics_reader
        self.select_dimensions, self.select_events = list(select_dimensions), list(select_events)
        self.show_workers, self.width = show_workers, x
        if endtime is None:
            system_metrics_reader.refresh_event_file_list()
            endtime = system_metrics_reader.get_timestamp_of_latest_available_file()
        self.last_timestamp_system_metrics = endtime
        events = system_metrics_reader.get_events(starttime, endtime)
        self.system_metrics = self.preprocess_system_metrics(events)
        self.chart: Any = None
        self.create_plot()

    def preprocess_system_metrics(
        self, events: Sequence[Any], system_metrics: dict[str, Any] | None = None
    ) -> dict[str, dict[str, Any]]:
        """By dimension, then by part: (n, 2) arrays of seconds since the epoch and values."""
        found: dict[str, dict[str, Any]] = dict(system_metrics or {})
        for event in events:
            node = f"-nodeid:{event.node_id}" if self.show_workers else ""
            parts = found.setdefault(event.dimension + node, {})
            parts.setdefault(event.name, []).append([event.timestamp, event.value])
        for parts in found.values():
            for name, values in parts.items():
                parts[name] = np.array(values)
            fewest = min(len(values) for values in parts.values())
            parts["total"] = np.mean([values[:fewest] for values in parts.values()], axis=0)
        self.available_dimensions = list(found)
        self.available_events = list(dict.fromkeys(n for parts in found.values() for n in parts))
        self.filtered_dimensions = _matching(self.available_dimensions, self.select_dimensions)
        self.filtered_events = _matching(self.available_events, self.select_events)
        print(f"select events:{self.select_events}")
        print(f"select dimensions:{self.select_dimensions}")
        print(f"filtered_events:{set(self.filtered_events)}")
        print(f"filtered_dimensions:{set(self.filtered_dimensions)}")
        return found

    def create_plot(self) -> Any:
        """Make the chart, and show it where this is a notebook."""
        import altair as alt

        rows = [self._chart(alt, *one) for one in enumerate(self.filtered_dimensions)]
        charts = [chart for chart in rows if chart is not None]
        if not charts:
            print("There is nothing to draw: no figure fits select_dimensions and select_events.")
            return None
        # One time for all, so that zooming one zooms the others.
        self.chart = alt.vconcat(*charts).resolve_scale(x="shared")
        _show(self.chart)
        return self.chart

    plot_system_metrics = create_plot

    def _chart(self, alt: Any, number: int, dimension: str) -> Any:
        rows = []
        for name in self.filtered_events:
            values = self.system_metrics[dimension].get(name)
            if values is None:
                continue
            values = values[-self.width :]
            for at, value in values[:: max(len(values) // POINTS, 1)].tolist():
                rows.append({"time": int(at * 1000), "value": round(value, 3), "part": name})
        if not rows:
            return None
        percent = "Utilization" in dimension or "Memory" in dimension or "Percentage" in dimension
        scale = alt.Scale(domain=[0, 100]) if percent else alt.Scale(zero=True)
        return (
            alt.Chart(alt.Data(values=rows))
            .mark_line(strokeWidth=1.2)
            .encode(
                x=alt.X("time:T", title=None),
                y=alt.Y("value:Q", title=dimension.partition("-nodeid")[0], scale=scale),
                color=alt.Color("part:N", title=None),
                tooltip=["part:N", "time:T", "value:Q"],
            )
            .properties(width=760, height=140, title=dimension)
            .add_params(
                alt.selection_interval(name=f"zoom{number}", bind="scales", encodings=["x"])
            )
        )

    def find_time_annotations(self, indexes: Sequence[int]) -> None:
        """Say what the framework did between two samples, by their numbers."""
        if not len(indexes):
            print("No selection made")
            return
        cpu = next((k for k in self.system_metrics if k.startswith("CPUUtilization")), None)
        if cpu is None or self.framework_metrics_reader is None:
            print("Nothing is known of what the framework did.")
            return
        times = self.system_metrics[cpu]["total"][:, 0]
        begin, end = times[np.min(indexes)], times[min(np.max(indexes), len(times) - 1)]
        print(f"Selected timerange: {begin} to {end}")
        spent: dict[str, float] = {}
        events = self.framework_metrics_reader.get_events(begin, end, unit=TimeUnits.SECONDS)
        for event in events:
            spent[event.event_name] = spent.get(event.event_name, 0.0) + event.duration / 1e6
        for name, milliseconds in spent.items():
            print(f"Spent {milliseconds} ms (cumulative time) in {name}")


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if any(re.search(pattern, name) for pattern in patterns)]


def _show(chart: Any) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is not None:
        display(chart)  # type: ignore[no-untyped-call]
