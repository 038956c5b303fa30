"""`houndsight report`: write a run's report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    no_pdf: Annotated[bool, typer.Option("--no-pdf", help="Write only the HTML.")] = False,
) -> None:
    """Write the report of a run, finished or not, from what its folder holds."""
    from houndsight.reporting import write_report
    from houndsight.runs import Run

    paths = write_report(Run.open(run_folder), pdf=not no_pdf)
    for path in paths:
        typer.echo(path)
