"""`houndsight endpoints`: what answers, and what became of what does not."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from houndsight.cli.records import age, open_store

__all__ = ["endpoints"]


def endpoints(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """List the endpoints, the newest first."""
    from houndsight.jobs.states import Kind

    store, rows = open_store(), []
    token: str | None = None
    while True:
        page = store.list(Kind.ENDPOINT, descending=True, token=token)
        for record in page.records:
            configuration = record.request.get("EndpointConfigName", "")
            said = record.detail.get("failure_reason") or ""
            rows.append(
                {
                    "name": record.name,
                    "status": record.status,
                    "configuration": configuration,
                    "created": record.created,
                    "says": said,
                }
            )
        token = page.next_token
        if token is None:
            break
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not rows:
        console.print("No endpoints.")
        return
    table = Table(box=box.SIMPLE, show_edge=False)
    for heading in ("endpoint", "status", "configuration", "begun", ""):
        table.add_column(heading, no_wrap=heading == "endpoint")
    for row in rows:
        cells = [row["name"], row["status"], row["configuration"], f"{age(row['created'])} ago"]
        says = " ".join(str(row["says"]).split())[:200]
        table.add_row(*(escape(str(cell)) for cell in (*cells, says)))
    console.print(table)
