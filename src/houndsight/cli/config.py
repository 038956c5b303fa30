"""`houndsight config`: every setting, its value and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from houndsight.config import Settings

__all__ = ["config"]


def config(
    photos: Annotated[
        Path | None,
        typer.Argument(metavar="PHOTOS", help="Also honour a houndsight.toml beside these."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every setting with its value, where the value comes from, and what it means."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from houndsight.cli.options import resolve_all
    from houndsight.jobs.endpoints.settings import EndpointsSettings
    from houndsight.jobs.settings import JobsSettings
    from houndsight.pipeline import SECTIONS
    from houndsight.serving.settings import ServingSettings

    sections: list[type[Settings]] = [*SECTIONS, ServingSettings, JobsSettings, EndpointsSettings]
    resolved = resolve_all(sections, given={}, data_folder=photos)
    if as_json:
        rows = {
            f"{cls.section}.{f.name}": {
                "value": getattr(resolved[cls.section].value, f.name),
                "source": resolved[cls.section].sources[f.name],
            }
            for cls in sections
            for f in cls.describe()
        }
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("setting", "value", "from", "meaning", box=box.SIMPLE_HEAD, show_lines=False)
    for cls in sections:
        for field in cls.describe():
            value = getattr(resolved[cls.section].value, field.name)
            source = resolved[cls.section].sources[field.name]
            shown = "" if source == "default" else source
            table.add_row(
                f"{cls.section}.{field.name}", escape(str(value)), shown, escape(field.help)
            )
        table.add_section()
    Console().print(table)
