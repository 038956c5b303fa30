"""`houndsight jobs`: what was trained and tuned, what runs and what waits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from houndsight.cli.records import as_it_stands, open_store, print_records

if TYPE_CHECKING:
    from houndsight.jobs.store import JobStore, Record

__all__ = ["jobs"]

STATUSES = ("InProgress", "Completed", "Failed", "Stopping", "Stopped")


def jobs(
    status: Annotated[
        str, typer.Option(metavar="STATUS", help=f"Only those: {', '.join(STATUSES)}.")
    ] = "",
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Show at most this many.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """List training and tuning jobs, the newest first."""
    from houndsight.errors import SettingError

    if status and status not in STATUSES:
        raise SettingError(f"--status is {status!r}; it must be one of {', '.join(STATUSES)}.")
    with open_store() as store:
        rows = [_row(record) for record in _newest(store, status, limit)]
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    _print(rows)


def _newest(store: JobStore, status: str, limit: int) -> list[Record]:
    from houndsight.jobs.states import Kind

    found: list[Record] = []
    for kind in (Kind.TRAINING_JOB, Kind.TUNING_JOB):
        found += store.list(kind, status=status, descending=True, limit=limit).records
    found = [as_it_stands(record) for record in found]
    found = [record for record in found if record.status == (status or record.status)]
    return sorted(found, key=lambda record: record.created, reverse=True)[:limit]


def _row(record: Record) -> dict[str, Any]:
    detail = record.detail
    said = detail.get("waiting_for") or detail.get("failure_reason") or ""
    state = detail.get("state", "")
    return {
        "name": record.name,
        "kind": record.kind.value,
        "status": record.status,
        "state": "" if state == record.status else state,
        "created": record.created,
        "parent": record.parent,
        "says": said,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("No jobs.")
        return
    print_records(
        "job",
        [
            (
                row["status"] + (f", {row['state']}" if row["state"] else ""),
                row["created"],
                row["name"] + (" (tuning)" if row["kind"] == "tuning-job" else ""),
                str(row["says"]),
            )
            for row in rows
        ],
    )
