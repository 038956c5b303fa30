"""`profiler-report.ipynb`: the rules' figures, and the cell that draws the samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from houndsight.files import write_atomic
from houndsight.jobs.debugging.profiler.rules import Judged
from houndsight.jobs.spec import TrainingSpec

__all__ = ["write_notebook"]

DRAW = """from smdebug.profiler.analysis.notebook_utils.training_job import TrainingJob
from smdebug.profiler.analysis.notebook_utils.timeline_charts import TimelineCharts

job = TrainingJob({name!r}, {region!r})
job.wait_for_sys_profiling_data_to_be_available()
TimelineCharts(job.get_systems_metrics_reader(), job.get_framework_metrics_reader())
"""


def write_notebook(path: Path, spec: TrainingSpec, judged: Sequence[Judged]) -> None:
    """Write it; nothing in it phones anywhere."""
    rows = ["| Rule | Triggered | Datapoints | What it says |", "|---|---|---|---|"]
    for one in sorted(judged, key=lambda j: -j.violations):
        text = one.text.replace("|", "\\|")
        rows.append(f"| {one.rule} | {one.violations} | {one.datapoints} | {text} |")
    usage = next((one.details for one in judged if one.rule == "OverallSystemUsage"), {})
    cells = [
        _markdown(f"# SageMaker Debugger Profiling Report\n\nTraining job `{spec.name}`"),
        _markdown("## Rules summary\n\n" + "\n".join(rows)),
        _markdown("## System usage statistics\n\n" + _usage(usage)),
        _code(DRAW.format(name=spec.name, region=spec.region)),
    ]
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "cells": [{"id": f"cell-{n}", **cell} for n, cell in enumerate(cells)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(notebook, indent=1).encode())


def _usage(details: Any) -> str:
    rows = ["| node | metric | max | p99 | p95 | p50 | min |", "|---|---|---|---|---|---|---|"]
    for metric, nodes in details.items():
        for node, figures in nodes.items():
            values = " | ".join(str(figures[k]) for k in ("max", "p99", "p95", "p50", "min"))
            rows.append(f"| {node} | {metric} | {values} |")
    return "\n".join(rows)


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(text: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": text,
    }
