"""`houndsight endpoints`: what answers, and what became of what does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from houndsight.cli.records import open_store, print_records

if TYPE_CHECKING:
    from houndsight.jobs.store import JobStore, Record

__all__ = ["endpoints"]


def endpoints(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """List the endpoints, the newest first."""
    with open_store() as store:
        rows = [_row(record) for record in _all_endpoints(store)]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    _print(rows)


def _all_endpoints(store: JobStore) -> Iterator[Record]:
    from houndsight.jobs.states import Kind

    token: str | None = None
    while True:
        page = store.list(Kind.ENDPOINT, descending=True, token=token)
        yield from page.records
        token = page.next_token
        if token is None:
            return


def _row(record: Record) -> dict[str, Any]:
    return {
        "name": record.name,
        "status": record.status,
        "configuration": record.request.get("EndpointConfigName", ""),
        "created": record.created,
        "says": record.detail.get("failure_reason") or "",
    }


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
