"""`houndsight endpoints`: what answers, and what became of what does not."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from houndsight.cli.records import open_store, print_records

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
    store.close()
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("No endpoints.")
        return
    print_records(
        "endpoint",
        [(row["status"], row["created"], row["name"], _says(row)) for row in rows],
    )


def _says(row: dict[str, Any]) -> str:
    """Its configuration, which the SDK calls as the endpoint, only where that differs."""
    other = row["configuration"] != row["name"]
    return " ".join(filter(None, [f"({row['configuration']})" if other else "", str(row["says"])]))
