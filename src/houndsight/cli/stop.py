"""`houndsight stop`: end a training or tuning job before it ends by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from houndsight.cli.platform import home, running_environment
from houndsight.cli.records import as_it_stands, find_record, open_store

if TYPE_CHECKING:
    from houndsight.jobs.layout import PlatformHome
    from houndsight.jobs.store import Record

__all__ = ["stop"]

OPERATIONS = {
    "training-job": ("stop_training_job", "TrainingJobName"),
    "tuning-job": ("stop_hyper_parameter_tuning_job", "HyperParameterTuningJobName"),
}


def stop(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A training or tuning job, or how it begins.")
    ],
) -> None:
    """Stop a job: its script gets SIGTERM and two minutes; what its model is then is kept."""
    from houndsight.jobs.states import Kind, StateError

    with open_store() as store:
        record = as_it_stands(find_record(store, job, Kind.TRAINING_JOB, Kind.TUNING_JOB))
    if record.status not in ("InProgress", "Stopping"):
        raise StateError(f"{record.name} is {record.status} already.")
    _stop(home(), record)
    typer.echo(f"{record.name} is stopping.")


def _stop(place: PlatformHome, record: Record) -> None:
    from houndsight.aws.server import find_running
    from houndsight.jobs.local.engine import LocalEngine

    if find_running(place) is None and record.handle is not None:
        # Its supervisor outlives the control plane and reads the request itself.
        LocalEngine(place).stop(record.handle)
        return
    _ask(record)


def _ask(record: Record) -> None:
    import botocore.exceptions
    import botocore.session

    from houndsight.errors import HoundsightError

    # As for scripts: no profile and no proxy of the person's own stands in the way.
    environ = running_environment().applied(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    client = botocore.session.Session().create_client("sagemaker")
    operation, parameter = OPERATIONS[record.kind.value]
    try:
        getattr(client, operation)(**{parameter: record.name})
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise HoundsightError(f"{record.name} could not be stopped: {error}.") from error
