"""Create, Describe, Stop, Delete and List HyperParameterTuningJob(s)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from houndsight.aws.sagemaker.resource import Resource, tags_of, validation_error
from houndsight.aws.sagemaker.tuning_reply import tuning_reply, tuning_summary
from houndsight.aws.service import Call, operation
from houndsight.jobs.request import check_name, training_spec
from houndsight.jobs.states import ExistsError, Kind, StateError
from houndsight.jobs.store import Record
from houndsight.jobs.tuning.earlier import children, with_inherited_metrics
from houndsight.jobs.tuning.plan import plan_of
from houndsight.jobs.tuning.states import Progress, TuningState
from houndsight.jobs.tuning.trials import child_request

__all__ = ["TuningJobs"]

LONGEST_NAME = 32
LAST_HOLD_S = 5.0
"""How long a poller's Describe may wait once no more trials are to be started."""


class TuningJobs(Resource):
    """Hyperparameter tuning jobs."""

    @operation("CreateHyperParameterTuningJob")
    def create(self, call: Call) -> Mapping[str, Any]:
        """Start a tuning job."""
        request, name = call.parameters, call.parameters["HyperParameterTuningJobName"]
        check_name(name, longest=LONGEST_NAME, what="name of a tuning job")
        arn = self.arn(call, Kind.TUNING_JOB, name)
        self.refuse_existing(call, Kind.TUNING_JOB, name)
        request = with_inherited_metrics(self.store, request)
        self._check_definitions(call, request, name, arn)
        self.store.add_tags(arn, tags_of(request))
        try:
            self.tuning.create(name, arn, request, region=call.region)
        except ExistsError as error:
            raise self.exists(call, Kind.TUNING_JOB, name) from error
        self.holding.note(call.access_key, arn)
        return {"HyperParameterTuningJobArn": arn}

    def _check_definitions(
        self, call: Call, request: Mapping[str, Any], name: str, arn: str
    ) -> None:
        """See now whether its training jobs could be started, not at the first trial."""
        plan = plan_of(name, arn, request, created=0.0, region=call.region)
        for definition in plan.definitions:
            child = child_request(plan, definition, {}, number=0, attempt=0)
            training_spec(child["TrainingJobName"], arn, child, region=call.region)

    @operation("DescribeHyperParameterTuningJob")
    def describe(self, call: Call) -> Mapping[str, Any]:
        """Everything about a tuning job; held open for a moment when its last trials run."""
        record = self._found(call)
        since = self.holding.note(call.access_key, record.arn)
        finishing = Progress.from_json(record.detail).state in (
            TuningState.FINISHING,
            TuningState.STOPPING,
        )
        if since is not None and finishing:
            record = self.holding.until(
                self.store,
                record,
                _ended,
                client=call.access_key,
                seconds=min(call.patience_s, LAST_HOLD_S),
            )
        return tuning_reply(record, self.store)

    @operation("StopHyperParameterTuningJob")
    def stop(self, call: Call) -> None:
        """Ask a tuning job and its training jobs to stop."""
        record = self._found(call)
        try:
            self.tuning.stop(record.name)
        except StateError as error:
            raise validation_error(
                "The request was rejected because the hyperparameter tuning job is in status"
                f" {self.store.get(Kind.TUNING_JOB, record.name).status}."
            ) from error

    @operation("DeleteHyperParameterTuningJob")
    def delete(self, call: Call) -> None:
        """Forget a tuning job that has ended, and its training jobs."""
        record = self._found(call)
        if not _ended(record):
            raise validation_error(
                f"Hyperparameter tuning job {record.name} is {record.status}; stop it first."
            )
        for child in list(children(self.store, record.name)):
            self.store.delete(Kind.TRAINING_JOB, child.name)
        self.store.delete(Kind.TUNING_JOB, record.name)

    @operation("ListHyperParameterTuningJobs")
    def list(self, call: Call) -> Mapping[str, Any]:
        """Tuning jobs, by name unless asked otherwise."""
        records, token = self.page(call, Kind.TUNING_JOB, sort_by="Name", descending=False)
        return {"HyperParameterTuningJobSummaries": [tuning_summary(r) for r in records], **token}

    def _found(self, call: Call) -> Record:
        name = call.parameters["HyperParameterTuningJobName"]
        check_name(name)
        return self.find(call, Kind.TUNING_JOB, name)


def _ended(record: Record) -> bool:
    return record.status in ("Completed", "Failed", "Stopped")
