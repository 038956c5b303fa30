"""`houndsight logs`: what a job's script, or an endpoint's, has printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from houndsight.cli.records import as_it_stands, find_record, open_store

if TYPE_CHECKING:
    from houndsight.jobs.layout import EndpointFolder, HostFolder
    from houndsight.jobs.store import JobStore, Record

__all__ = ["logs"]

FOLLOW_SECONDS = 0.3
PAGE_LINES = 1_000
FIRST_HOST = "algo-1"


def logs(
    job: Annotated[
        str,
        typer.Argument(metavar="JOB", help="A training job or an endpoint, or how it begins."),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until it has ended.")
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help=f"Of several hosts, this one; by default {FIRST_HOST}. Of an endpoint, one of its"
            " log streams; by default all.",
        ),
    ] = "",
) -> None:
    """Print what the script of a training job or of an endpoint has printed, line by line."""
    from houndsight.jobs.states import Kind

    with open_store() as store:
        if _is_deleted_endpoint(store, job):
            _endpoint_logs(store, job, host, follow=follow)
            return
        record = find_record(store, job, Kind.TRAINING_JOB, Kind.ENDPOINT)
        if record.kind == Kind.ENDPOINT:
            _endpoint_logs(store, record.name, host, follow=follow)
        else:
            _job_logs(store, record, host or FIRST_HOST, follow=follow)


def _job_logs(store: JobStore, record: Record, host: str, *, follow: bool) -> None:
    from houndsight.aws.server import find_running
    from houndsight.cli.platform import home
    from houndsight.jobs.states import Kind, NotFoundError

    if host not in record.detail.get("hosts", [FIRST_HOST]):
        raise NotFoundError(f"{record.name} has no host {host!r}.")
    folder, offset = home().training_job(record.name).host(host), 0
    while True:
        record = as_it_stands(record)
        ended = record.status not in ("InProgress", "Stopping")
        offset = _print_from(folder, offset, ended=ended)
        if ended or not follow:
            break
        if record.handle is None and find_running(home()) is None:
            typer.secho("Nothing starts it: houndsight up starts the platform.", err=True)
            break
        time.sleep(FOLLOW_SECONDS)
        record = store.get(Kind.TRAINING_JOB, record.name)
    _say_the_end(record, follow=follow)


def _print_from(folder: HostFolder, offset: int, *, ended: bool) -> int:
    from houndsight.jobs.local.logs import read_page

    while True:
        page = read_page(folder, offset, PAGE_LINES, ended=ended)
        for line in page.lines:
            typer.echo(line.message)
        if page.next_offset == offset:
            return offset
        offset = page.next_offset


def _say_the_end(record: Record, *, follow: bool) -> None:
    reason = record.detail.get("failure_reason") or record.detail.get("waiting_for")
    if follow or reason or record.handle is None:
        said = f" {reason}" if reason else ""
        typer.secho(f"{record.name} is {record.status}.{said}", err=True, dim=True)


# -- endpoints ------------------------------------------------------------------------------------


def _is_deleted_endpoint(store: JobStore, name: str) -> bool:
    """Whether only the logs are left of it, and no job has that name."""
    from houndsight.cli.platform import home
    from houndsight.jobs.states import Kind, NotFoundError

    if name != Path(name).name or not home().endpoint(name).logs.is_dir():
        return False
    for kind in (Kind.TRAINING_JOB, Kind.ENDPOINT):
        try:
            store.get(kind, name)
        except NotFoundError:
            continue
        return False
    return True


def _endpoint_logs(store: JobStore, name: str, stream: str, *, follow: bool) -> None:
    """All streams, or one; those of a deleted endpoint are kept."""
    from houndsight.cli.platform import home
    from houndsight.jobs.endpoints.logs import streams
    from houndsight.jobs.states import NotFoundError

    folder = home().endpoint(name)
    offsets: dict[str, int] = {}
    while True:
        found = [row.name for row in streams(folder)]
        if stream and stream not in found:
            some = ", ".join(found) or "none"
            raise NotFoundError(f"Endpoint {name} has no log stream {stream!r}; it has {some}.")
        _print_streams(folder, [stream] if stream else found, offsets)
        if not follow or _endpoint_status(store, name) in ("", "Failed"):
            break
        time.sleep(FOLLOW_SECONDS)
    status = _endpoint_status(store, name) or "deleted"
    if follow or status != "InService":
        typer.secho(f"{name} is {status}.", err=True, dim=True)


def _print_streams(folder: EndpointFolder, names: list[str], offsets: dict[str, int]) -> None:
    from houndsight.jobs.endpoints.logs import read_stream

    for name in names:
        told = len(names) == 1
        while True:
            offset = offsets.get(name, 0)
            page = read_stream(folder, name, offset, PAGE_LINES)
            for line in page.lines:
                if not told:
                    told = True
                    typer.secho(f"==> {name} <==", bold=True)
                typer.echo(line.message)
            if page.next_offset == offset:
                break
            offsets[name] = page.next_offset


def _endpoint_status(store: JobStore, name: str) -> str:
    """Its status; "" when it is deleted."""
    from houndsight.jobs.states import Kind, NotFoundError

    try:
        return store.get(Kind.ENDPOINT, name).status
    except NotFoundError:
        return ""
