"""What the search tried and what mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from houndsight.reporting.charts import (
    importance_chart,
    parallel_coordinates,
    parameter_importance,
    trial_values,
)
from houndsight.reporting.document import Block, Cell, Chart, Column, Paragraph, Section, Table
from houndsight.reporting.measurements import Measurements, mapping
from houndsight.reporting.text import clean, measure, percent
from houndsight.wording import duration, plural

__all__ = ["search"]

OBJECTIVES = {
    "nll": "negative log-likelihood",
    "top1": "top-1",
    "top5": "top-5",
    "ece": "calibration error",
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
}
"""What sentences call a figure that charts name by its short name."""
MOST_ROWS = 20
MOST_AXES = 8


def search(m: Measurements) -> Section | None:
    """Parallel coordinates, importance, progress and the best trials."""
    if not m.trials:
        return None
    done = [_tidied(t) for t in m.trials if _is_done(t)]
    blocks: list[Block] = []
    objective, minimize = _objective(m)
    if done:
        done.sort(key=lambda t: t["value"] if minimize else -t["value"])
        blocks += _charts(done, objective, minimize)
        blocks.append(_table(done, objective))
    return Section(
        id="search",
        title="Hyperparameter search",
        lead=_lead(m, done, objective),
        blocks=tuple(blocks) or (Paragraph(text="No trial has been completed yet."),),
    )


def _charts(done: list[dict[str, Any]], objective: str, minimize: bool) -> list[Block]:
    """`done` is sorted, best first."""
    blocks: list[Block] = []
    varied = _varied(done)
    importance = parameter_importance(done, direction="minimize" if minimize else "maximize")
    axes = sorted(varied, key=lambda n: -importance.get(n, 0.0))[:MOST_AXES]
    best = done[0]
    if len(done) > 2 and axes:
        settings = ", ".join(f"{n} {measure(best['parameters'][n])}" for n in axes)
        blocks.append(
            Chart(
                id="search-parallel",
                title="Every trial, an axis a hyperparameter",
                spec=parallel_coordinates(
                    done, axes, objective=objective, best=best["number"], minimize=minimize
                ),
                alt=f"The best trial, number {best['number']}, has {settings} and reaches "
                f"{objective} {measure(best['value'])}.",
                caption="The best trial is stressed. Each axis runs over the values tried.",
                height=300,
                min_width=120 * (len(axes) + 1),
            )
        )
    if importance:
        leader = max(importance, key=lambda n: importance[n])
        blocks.append(
            Chart(
                id="search-importance",
                title="What mattered",
                spec=importance_chart(importance),
                alt=f"{leader} explains {percent(importance[leader], 0)} of the differences.",
                caption="Share of the differences between trials that each explains (fANOVA).",
                height=max(30 * len(importance) + 20, 140),
                wide=False,
            )
        )
    if len(done) > 2:
        ordered = sorted(done, key=lambda t: t["number"])
        blocks.append(
            Chart(
                id="search-progress",
                title="Progress of the search",
                spec=trial_values(ordered, objective=objective, minimize=minimize),
                alt=f"{objective} of the trials, from {measure(ordered[0]['value'])} at the first "
                f"to {measure(best['value'])} at the best.",
                caption="A point a trial; the line is the best so far.",
                height=max(30 * len(importance) + 20, 200) if importance else 220,
                wide=False,
            )
        )
    return blocks


def _table(done: list[dict[str, Any]], objective: str) -> Table:
    names = list(dict.fromkeys(n for t in done for n in t["parameters"]))
    extra = [k for k in ("top1",) if all(k in t["metrics"] for t in done)]
    # Heads that were fitted all at once have no time of their own.
    timed = sorted(t["seconds"] for t in done)[len(done) // 2] >= 0.05
    rows = [
        (
            Cell(text=str(t["number"]), value=t["number"]),
            Cell(text=measure(t["value"], 4), value=t["value"]),
            *(Cell(text=percent(t["metrics"][k]), value=t["metrics"][k]) for k in extra),
            *(_parameter(t["parameters"].get(n)) for n in names),
            *([Cell(text=duration(t["seconds"]), value=t["seconds"])] if timed else []),
        )
        for t in done[:MOST_ROWS]
    ]
    numeric = {n: all(isinstance(t["parameters"].get(n), int | float) for t in done) for n in names}
    return Table(
        caption="The best trials" if len(done) > MOST_ROWS else "The trials, best first",
        columns=(
            Column(title="Trial", numeric=True),
            Column(title=objective, numeric=True),
            *(Column(title="top-1", numeric=True) for _ in extra),
            *(Column(title=n.replace("_", " "), numeric=numeric[n]) for n in names),
            *([Column(title="Time", numeric=True)] if timed else []),
        ),
        rows=tuple(rows),
        sortable=True,
        marked=0,
        note=f"{plural(len(done) - MOST_ROWS, 'more trial')} in trials.jsonl."
        if len(done) > MOST_ROWS
        else "",
    )


def _parameter(value: object) -> Cell:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(text=measure(value), value=float(value) if number else None)  # type: ignore[arg-type]


def _lead(m: Measurements, done: list[dict[str, Any]], objective: str) -> str:
    stopped = sum(1 for t in m.trials if t.get("state") == "stopped")
    failed = sum(1 for t in m.trials if t.get("state") == "failed")
    told = f"{plural(len(done), 'trial')} completed"
    told += f", {stopped} stopped early" if stopped else ""
    told += f", {failed} failed" if failed else ""
    if not done:
        return f"{told}."
    best = done[0]
    called = OBJECTIVES.get(objective, objective)
    judged = "by cross-validation on all photos" if m.cross_validated else "on validation photos"
    return (
        f"{told}; the best is number {best['number']} with a {called} of {measure(best['value'])} "
        f"{judged}."
    )


def _objective(m: Measurements) -> tuple[str, bool]:
    """The objective's name and whether less is better, as the run was told."""
    told = mapping(m.config.get("tuning"))
    name = clean(told.get("objective") or m.plan.get("objective") or "nll", limit=40)
    direction = told.get("direction") or m.plan.get("direction")
    if direction is None:
        larger = ("top1", "top5", "macro_f1", "balanced_accuracy", "accuracy")
        return name, name not in larger
    return name, direction != "maximize"


def _is_done(trial: Mapping[str, Any]) -> bool:
    value = trial.get("value")
    finite = isinstance(value, int | float) and math.isfinite(value)
    return finite and trial.get("state", "completed") == "completed"


def _tidied(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The trial with clean names and nothing missing."""
    seconds = trial.get("seconds")
    return {
        "number": int(trial.get("number", 0)),
        "value": float(trial["value"]),
        "parameters": {
            clean(k, limit=40): v if isinstance(v, int | float) else clean(v, limit=60)
            for k, v in mapping(trial.get("parameters")).items()
        },
        "metrics": {k: v for k, v in mapping(trial.get("metrics")).items() if isinstance(v, float)},
        "seconds": float(seconds) if isinstance(seconds, int | float) else 0.0,
    }


def _varied(done: list[dict[str, Any]]) -> list[str]:
    shared = [n for n in done[0]["parameters"] if all(n in t["parameters"] for t in done)]
    return [n for n in shared if len({str(t["parameters"][n]) for t in done}) > 1]
