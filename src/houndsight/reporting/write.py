"""The two reports of a run, written beside it."""

from __future__ import annotations

from pathlib import Path

from houndsight.files import write_atomic
from houndsight.reporting.build import build_document
from houndsight.reporting.html import render_html
from houndsight.reporting.pdf import render_pdf
from houndsight.runs import Run

__all__ = ["write_report"]


def write_report(run: Run, *, pdf: bool = True) -> tuple[Path, ...]:
    """Write `report.html` and, unless told not to, `report.pdf`; return the paths written."""
    document = build_document(run)
    page, paper = run.folder / "report.html", run.folder / "report.pdf"
    write_atomic(page, render_html(document).encode("utf-8"))
    if not pdf:
        return (page,)
    write_atomic(paper, render_pdf(document))
    return page, paper
