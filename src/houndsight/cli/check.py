"""`houndsight check`: look at the photos before anything is trained."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from houndsight.cli.options import SetOption, resolve_all, with_settings
from houndsight.data.settings import DataSettings
from houndsight.findings import Severity
from houndsight.wording import plural

__all__ = ["check"]


@with_settings({DataSettings: ("seed", "group", "workers")})
def check(
    photos: Annotated[
        str,
        typer.Argument(
            metavar="PHOTOS", help="A folder, a CSV or Parquet table, an archive or an address."
        ),
    ],
    given: dict[str, dict[str, Any]],
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as JSON lines.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with code 3 when there is a warning or error.")
    ] = False,
    assignments: SetOption = None,
) -> None:
    """Check the photos: unreadable files, duplicates, leakage, imbalance and more."""
    from houndsight.cli.findings import print_findings
    from houndsight.cli.progress import ProgressDisplay
    from houndsight.data.check import check as check_photos
    from houndsight.data.folder import ImageFolder
    from houndsight.stages.check import data_folder_of

    settings = resolve_all(
        [DataSettings],
        given=given,
        assignments=assignments or (),
        data_folder=data_folder_of(photos),
    )["data"].value
    with ProgressDisplay() as display:
        folder = ImageFolder.open(photos, settings, listener=display)
        result = check_photos(folder, settings, listener=display)
    if as_json:
        for finding in result.findings:
            typer.echo(json.dumps(finding.to_json(), default=str))
    else:
        _print_summary(folder, result.folder)
        from rich.console import Console

        print_findings(result.findings, Console(), examples=True)
    if strict and any(f.severity != Severity.INFO for f in result.findings):
        raise typer.Exit(3)


def _print_summary(before: Any, after: Any) -> None:
    parts = [
        f"{len(after.split(name)):,} {name}"
        for name in ("train", "valid", "test")
        if len(after.split(name))
    ]
    set_aside = len(before.table) - len(after.table)
    typer.echo(
        f"{plural(len(before.table), 'photo')} of "
        f"{plural(len(after.classes), 'class', 'classes')}; {set_aside:,} set aside; "
        f"split: {', '.join(parts)}."
    )
