"""`profiler-report.html`: the run's own findings and curves, and what the machine did."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import altair as alt
import numpy as np

from houndsight.errors import RunError
from houndsight.files import write_atomic
from houndsight.jobs.debugging.places import Places, model_folders
from houndsight.jobs.debugging.profiler.rules import Judged, View
from houndsight.jobs.debugging.profiler.samples import Floats, Samples
from houndsight.jobs.debugging.profiler.steps import read_losses
from houndsight.jobs.spec import TrainingSpec
from houndsight.reporting.charts import learning_curve
from houndsight.reporting.charts.base import chart_of
from houndsight.reporting.document import (
    Block,
    Cell,
    Chart,
    Column,
    Document,
    Figure,
    Figures,
    Paragraph,
    Remedy,
    Section,
    Table,
    Verdict,
)
from houndsight.reporting.html import render_html
from houndsight.reporting.measurements import read_measurements
from houndsight.reporting.sections.findings import findings
from houndsight.reporting.sections.watched import watched
from houndsight.reporting.text import clean
from houndsight.reporting.thin import thin
from houndsight.runs import Run
from houndsight.wording import duration, plural

__all__ = ["write_html"]

FIGURES = ("max", "p99", "p95", "p50", "min")


def write_html(
    path: Path, spec: TrainingSpec, places: Places, view: View, judged: Sequence[Judged]
) -> None:
    """Write the page: it works offline and phones nowhere."""
    end = max((float(h.times[-1]) for h in view.hosts if len(h)), default=view.begin)
    document = Document(
        title=clean(spec.name, limit=80),
        subtitle=f"Training job on {clean(spec.instance_type, limit=40)}, run on this machine",
        verdict=_verdict(judged),
        figures=Figures(items=tuple(_figures(view, end))),
        sections=(
            *_watched(places),
            *_curve(places),
            _summary(view, end),
            _system(view, judged),
            _rules(judged),
        ),
        made=time.strftime("%-d %B %Y, %H:%M UTC", time.gmtime(view.begin)),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render_html(document).encode())


def _verdict(judged: Sequence[Judged]) -> Verdict:
    fired = [one for one in judged if one.fired]
    silent = [one for one in judged if one.text and not one.fired]
    lacking = f" {plural(len(silent), 'rule')} could not judge; the table below says why."
    if fired:
        return Verdict(
            level="soso",
            label=plural(len(fired), "bottleneck"),
            text="; ".join(one.rule for one in fired) + "." + (lacking if silent else ""),
            remedies=tuple(
                Remedy(cause=one.rule, fix=clean(one.text, limit=400)) for one in fired[:3]
            ),
        )
    text = f"{plural(len(judged) - len(silent), 'rule')} of the profiler found nothing."
    level = "unknown" if silent else "good"
    return Verdict(level=level, label="No bottleneck found", text=text + lacking * bool(silent))


def _figures(view: View, end: float) -> list[Figure]:
    found = [Figure(label="Job duration", value=duration(max(end - view.begin, 0)))]
    if view.steps.begin is not None:
        waited = max(view.steps.begin - view.begin, 0)
        found.append(Figure(label="Initialization", value=duration(waited), detail="to step 1"))
        found.append(Figure(label="Steps", value=f"{len(view.steps.train):,}"))
    cpu = [float(np.nanmean(h.cpu)) for h in view.hosts if h.cpu.size]
    if cpu:
        found.append(Figure(label="CPU", value=f"{np.mean(cpu):.0f} %", detail="of all cores"))
    return found


def _watched(places: Places) -> list[Section]:
    """What the debugger found, in the words of the run's report."""
    found: list[Section] = []
    for folder in model_folders(places.run):
        try:
            measurements = read_measurements(Run.open(folder))
        except (RunError, OSError):
            continue
        found += [findings(measurements), *filter(None, [watched(measurements)])]
        break
    return found


def _curve(places: Places) -> list[Section]:
    """The loss of the first model that was watched."""
    folders = model_folders(places.run)
    series = read_losses(folders[0]) if folders else {}
    if not any(len(points) > 1 for points in series.values()):
        return []
    told = [f"{name} from {p[0][1]:.3g} to {p[-1][1]:.3g}" for name, p in series.items()]
    chart = Chart(
        id="curve-loss",
        title="Loss",
        spec=learning_curve(series, across="step", along="loss"),
        alt=f"Loss over steps: {'; '.join(told)}.",
        height=240,
    )
    return [Section(id="curves", title="Learning curve", blocks=(chart,))]


def _summary(view: View, end: float) -> Section:
    """SageMaker's shares of initialization, training loop and finalization."""
    total = max(end - view.begin, 1e-9)
    first = view.steps.begin if view.steps.begin is not None else end
    last = view.steps.end if view.steps.end is not None else first
    shares = (
        ("Initialization", first - view.begin),
        ("Training loop", last - first),
        ("Finalization", end - last),
    )
    rows = tuple(
        (
            Cell(text=name),
            Cell(text=duration(max(seconds, 0)), value=seconds),
            Cell(text=f"{100 * max(seconds, 0) / total:.0f} %", value=seconds / total),
        )
        for name, seconds in shares
    )
    columns = (Column(title="Part"), Column(title="Time", numeric=True))
    table = Table(
        caption="Where the time went",
        columns=(*columns, Column(title="Share", bar=True)),
        rows=rows,
    )
    return Section(id="summary", title="Training job summary", blocks=(table,))


def _system(view: View, judged: Sequence[Judged]) -> Section:
    blocks: list[Block] = [chart for host in view.hosts for chart in _charts(host, view.begin)]
    usage = next((one.details for one in judged if one.rule == "OverallSystemUsage"), {})
    rows = []
    for metric, nodes in usage.items():
        for node, figures in nodes.items():
            cells = (Cell(text=f"{figures[k]:,.1f}", value=figures[k]) for k in FIGURES)
            rows.append((Cell(text=node), Cell(text=metric), Cell(text=_unit(metric)), *cells))
    titles = [Column(title=t) for t in ("Node", "Metric", "Unit")]
    titles += [Column(title=k, numeric=True) for k in FIGURES]
    if rows:
        blocks.append(Table(caption="System usage", columns=tuple(titles), rows=tuple(rows)))
    if not blocks:
        blocks.append(Paragraph(text="No samples of the system were taken."))
    return Section(
        id="system",
        title="System usage statistics",
        lead="Of the whole machine, with whatever else ran on it.",
        blocks=tuple(blocks),
    )


def _unit(metric: str) -> str:
    return "bytes a second" if metric == "Network" else "percent"


def _charts(host: Samples, begin: float) -> list[Chart]:
    series = {"CPU": host.cpu, "GPU": host.gpu, "I/O wait": host.io_wait}
    lines = {name: values.mean(axis=1) for name, values in series.items() if values.shape[1]}
    lines["memory"] = host.memory
    rows = []
    for name, values in lines.items():
        rows += _points(name, host.times - begin, values)
    if not rows:
        return []
    spec = (
        chart_of(rows)
        .mark_line(strokeWidth=1.5)
        .encode(
            x=alt.X("seconds:Q", title="seconds", axis=alt.Axis(grid=False)),
            y=alt.Y("percent:Q", title="percent", scale=alt.Scale(domain=[0, 100])),
            color=alt.Color("what:N", title=None, sort=list(lines)),
        )
        .to_dict(validate=False)
    )
    told = "; ".join(f"{name} {np.nanmean(v):.0f} % on average" for name, v in lines.items())
    return [
        Chart(
            id=f"use-{clean(host.node, limit=20)}",
            title=f"Use of {host.node}",
            spec=spec,
            alt=f"Over the job: {told}.",
            height=220,
        )
    ]


def _points(name: str, seconds: Floats, values: Floats) -> list[dict[str, object]]:
    there = np.isfinite(values)
    x, y = seconds[there].tolist(), values[there].tolist()
    return [
        {"what": name, "seconds": round(x[i], 2), "percent": round(y[i], 1)} for i in thin(x, y)
    ]


def _rules(judged: Sequence[Judged]) -> Section:
    rows = tuple(
        (
            Cell(text=one.rule),
            Cell(text=clean(one.text or "Nothing found.", limit=400)),
            Cell(text=str(one.violations), value=one.violations),
            Cell(text=str(one.datapoints), value=one.datapoints),
            Cell(text=clean(", ".join(f"{k}:{v:g}" for k, v in one.parameters.items()), limit=200)),
        )
        for one in sorted(judged, key=lambda j: -j.violations)
    )
    columns = (
        Column(title="Rule"),
        Column(title="What it says"),
        Column(title="Triggered", numeric=True),
        Column(title="Datapoints", numeric=True),
        Column(title="Parameters"),
    )
    table = Table(caption="Rules of the profiler", columns=columns, rows=rows, sortable=True)
    return Section(id="rules", title="Rules summary", blocks=(table,))
