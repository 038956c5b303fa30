"""`houndsight logs`: what a job's script has printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from houndsight.cli.records import find_record, open_store

if TYPE_CHECKING:
    from houndsight.jobs.layout import HostFolder
    from houndsight.jobs.store import JobStore, Record

__all__ = ["logs"]

FOLLOW_SECONDS = 0.3
PAGE_LINES = 1_000


def logs(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A training job, or how it begins.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    host: Annotated[str, typer.Option(metavar="HOST", help="Of several hosts, this one.")] = (
        "algo-1"
    ),
) -> None:
    """Print what a training job's script has printed, line by line."""
    from houndsight.jobs.states import Kind, NotFoundError

    store = open_store()
    record = find_record(store, job, Kind.TRAINING_JOB)
    if host not in record.detail.get("hosts", ["algo-1"]):
        raise NotFoundError(f"{record.name} has no host {host!r}.")
    offset = 0
    while True:
        ended = record.status not in ("InProgress", "Stopping")
        offset = _print_from(_folder(record, host), offset, ended=ended)
        if ended or not follow:
            break
        time.sleep(FOLLOW_SECONDS)
        record = store.get(Kind.TRAINING_JOB, record.name)
    _say_the_end(store, record, follow=follow)


def _folder(record: Record, host: str) -> HostFolder:
    from houndsight.cli.platform import home

    return home().training_job(record.name).host(host)


def _print_from(folder: HostFolder, offset: int, *, ended: bool) -> int:
    from houndsight.jobs.local.logs import read_page

    while True:
        page = read_page(folder, offset, PAGE_LINES, ended=ended)
        for line in page.lines:
            typer.echo(line.message)
        if page.next_offset == offset:
            return offset
        offset = page.next_offset


def _say_the_end(store: JobStore, record: Record, *, follow: bool) -> None:
    reason = record.detail.get("failure_reason") or record.detail.get("waiting_for")
    if follow or reason or record.handle is None:
        said = f" {reason}" if reason else ""
        typer.secho(f"{record.name} is {record.status}.{said}", err=True, dim=True)
    store.close()
