"""The two reports of a run, written beside it."""

from __future__ import annotations

from pathlib import Path

from houndsight.files import write_atomic
from houndsight.reporting.build import build_document
from houndsight.reporting.html import render_html
from houndsight.reporting.pdf import render_pdf
from houndsight.runs import Run

__all__ = ["write_report"]


def write_report(run: Run) -> tuple[Path, Path]:
    """Write `report.html` and `report.pdf` into the run folder and return their paths."""
    document = build_document(run)
    html, pdf = run.folder / "report.html", run.folder / "report.pdf"
    write_atomic(html, render_html(document).encode("utf-8"))
    write_atomic(pdf, render_pdf(document))
    return html, pdf
