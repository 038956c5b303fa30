"""What the commands about jobs and endpoints share: the store, a record by name, times."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from houndsight.cli.platform import home
from houndsight.errors import HoundsightError, require_extra
from houndsight.wording import did_you_mean, duration

if TYPE_CHECKING:
    from houndsight.jobs.states import Kind
    from houndsight.jobs.store import JobStore, Record

__all__ = ["age", "as_it_stands", "find_record", "open_store", "print_records"]

LONGEST_SAYING = 300
LOOKED_AT = 1_000
"""How many of the newest records are looked through for the beginning of a name."""


@contextmanager
def open_store() -> Iterator[JobStore]:
    """The store, whether or not the control plane runs.

    Raises:
        HoundsightError: there is none yet.
    """
    place = home()
    require_extra("sqlalchemy", what="The platform", extra="platform")
    from houndsight.jobs.schema import VARIABLE
    from houndsight.jobs.store import JobStore

    if not place.database.exists() and not os.environ.get(VARIABLE):
        raise HoundsightError(
            f"There are no jobs in {place.root} yet: houndsight up starts the platform."
        )
    store = JobStore.open(place.database)
    try:
        yield store
    finally:
        store.close()


def find_record(store: JobStore, name: str, *kinds: Kind) -> Record:
    """The record of that name, or the only one whose name begins so.

    Raises:
        HoundsightError: there is none, or there are several.
    """
    from houndsight.jobs.states import NotFoundError

    newest: list[Record] = []
    for kind in kinds:
        try:
            return store.get(kind, name)
        except NotFoundError:
            newest += store.list(kind, descending=True, limit=LOOKED_AT).records
    found = [record for record in newest if record.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = " or ".join(kind.words for kind in kinds)
    if not found:
        meant = did_you_mean(name, [record.name for record in newest])
        raise HoundsightError(f"There is no {what} {name}{meant}")
    some = ", ".join(record.name for record in found[:5])
    raise HoundsightError(f"Several begin with {name}: {some}; give more of the name.")


def as_it_stands(record: Record) -> Record:
    """The record of a training job that runs, as its supervisor tells.

    The store learns of it only while the platform runs; the job goes on without.
    """
    from houndsight.errors import RunError
    from houndsight.jobs.states import Kind
    from houndsight.jobs.status import JobStatus

    live = record.status in ("InProgress", "Stopping") and record.handle is not None
    if record.kind != Kind.TRAINING_JOB or not live:
        return record
    try:
        status = JobStatus.read(home().training_job(record.name).status)
    except (RunError, OSError):
        return record
    if status.modified <= record.detail.get("modified", 0.0):
        return record
    detail = {**record.detail, **status.to_json()}
    primary = status.state.primary if status.state.ended else record.status
    return dataclasses.replace(record, status=primary, detail=detail)


def age(created: float) -> str:
    """How long ago, as people say it."""
    return duration(max(0.0, time.time() - created))


def print_records(what: str, rows: Sequence[tuple[str, float, str, str]]) -> None:
    """A table that cuts no name and no status, however narrow the terminal.

    Args:
        what: heads the column of names.
        rows: status, when it began (epoch seconds), name, what there is to say.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_edge=False)
    table.add_column("status", overflow="fold")
    table.add_column("begun", no_wrap=True)
    table.add_column(what, overflow="fold")
    for status, created, name, says in rows:
        said = " ".join(says.split())
        if len(said) > LONGEST_SAYING:
            said = said[: LONGEST_SAYING - 1] + "…"
        cell = Text.assemble(name, *([("\n" + said, "dim")] if said else []))
        table.add_row(Text(status), f"{age(created)} ago", cell)
    Console().print(table)
