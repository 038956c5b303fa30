"""What `houndsight run` prints at the end."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from houndsight.cli.findings import print_findings
from houndsight.findings import Severity
from houndsight.runs import Run
from houndsight.wording import duration, plural

__all__ = ["print_summary"]

FIGURES = (
    ("top1", "top-1"),
    ("top5", "top-5"),
    ("balanced_accuracy", "balanced accuracy"),
    ("macro_f1", "macro-F1"),
    ("ece", "calibration error"),
    ("nll", "log loss"),
)


def print_summary(run: Run, console: Console | None = None) -> None:
    """One table of figures and times, the gravest findings, and where report and model are."""
    console = console or Console()
    grave = [f for f in run.findings() if f.severity != Severity.INFO]
    if grave:
        print_findings(grave, console)
    console.print(_table(run))
    for name, path in _paths(run):
        console.print(f"{name:<7} {escape(str(path))}", highlight=False, soft_wrap=True)


def _table(run: Run) -> Table:
    results = run.results
    test = results["metrics"]["test"]
    caption = f"{results['protocol']}, {plural(round(test['count']), 'photo')}"
    table = Table(
        title=f"{results['model']}, {escape(results['backbone']['name'])}", box=box.ROUNDED
    )
    table.caption = caption
    for heading, justify in (("figure", "left"), ("", "right"), ("stage", "left"), ("", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    shown = [f for f in FIGURES if f[0] != "top5" or len(results["classes"]) > 5]
    figures = [(label, _figure(key, test)) for key, label in shown if key in test]
    times = [(name, duration(float(s["seconds"]))) for name, s in run.stages.items()]
    times.append(("in all", duration(run.seconds)))
    for row in range(max(len(figures), len(times))):
        left = figures[row] if row < len(figures) else ("", "")
        right = times[row] if row < len(times) else ("", "")
        table.add_row(*left, *right)
    return table


def _figure(key: str, metrics: dict[str, Any]) -> str:
    value = float(metrics[key])
    if key == "nll":
        return f"{value:.3f}"
    if key == "top1" and "top1_interval" in metrics:
        low, high = metrics["top1_interval"]
        return f"{value:.1%} ({low:.1%} to {high:.1%})"
    return f"{value:.1%}"


def _paths(run: Run) -> list[tuple[str, Any]]:
    named = [
        ("report", run.folder / "report.html"),
        ("pdf", run.folder / "report.pdf"),
        ("model", run.model),
    ]
    return [(name, path) for name, path in named if path.exists()]
