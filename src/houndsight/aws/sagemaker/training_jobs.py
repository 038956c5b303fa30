"""CreateTrainingJob, DescribeTrainingJob, StopTrainingJob, UpdateTrainingJob, DeleteTrainingJob."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from houndsight.aws.sagemaker.resource import Resource, tags_of, validation_error
from houndsight.aws.sagemaker.training_reply import status_of, training_reply
from houndsight.aws.service import Call, operation
from houndsight.files import write_atomic
from houndsight.jobs.debugging.places import Places
from houndsight.jobs.request import TUNING_MARK, check_name, training_spec
from houndsight.jobs.states import ExistsError, Kind, StateError
from houndsight.jobs.status import JobState
from houndsight.jobs.store import Record

__all__ = ["TrainingJobs"]

YOUNG_S = 20.0
"""A job so young may well be over in a moment: scripts that fail do so at once."""
STARTING_HOLD_S = 20.0
YOUNG_HOLD_S = 5.0
"""A poller that reads the log as well does not see it while it is held."""
CLOSING_HOLD_S = 20.0
UPDATABLE = ("ProfilerConfig", "ProfilerRuleConfigurations", "ResourceConfig", "RemoteDebugConfig")


class TrainingJobs(Resource):
    """Training jobs, those of tuning jobs among them."""

    @operation("CreateTrainingJob")
    def create(self, call: Call) -> Mapping[str, Any]:
        """Queue a training job."""
        request, name = call.parameters, call.parameters["TrainingJobName"]
        arn = self.arn(call, Kind.TRAINING_JOB, name)
        self.refuse_existing(call, Kind.TRAINING_JOB, name)
        request = {key: value for key, value in request.items() if key != TUNING_MARK}
        spec = training_spec(name, arn, request, region=call.region)
        self.store.add_tags(arn, tags_of(request))
        try:
            self.jobs.create_training_job(spec, request)
        except ExistsError as error:
            raise self.exists(call, Kind.TRAINING_JOB, name) from error
        self.holding.note(call.access_key, arn)
        return {"TrainingJobArn": arn}

    @operation("DescribeTrainingJob")
    def describe(self, call: Call) -> Mapping[str, Any]:
        """Everything about a training job; held open for a moment when it is about to end."""
        record = self._found(call)
        since = self.holding.note(call.access_key, record.arn)
        if since is not None:
            record = self._held(call, record)
        return training_reply(record)

    def _held(self, call: Call, record: Record) -> Record:
        """The record as it is once the job has ended, or a poller has waited long enough."""

        def wait(record: Record, done: Callable[[Record], bool], seconds: float) -> Record:
            client, seconds = call.access_key, min(seconds, call.patience_s)
            return self.holding.until(self.store, record, done, client=client, seconds=seconds)

        state = _state(record)
        if state in (JobState.UPLOADING, JobState.STOPPING):
            return wait(record, _ended, CLOSING_HOLD_S)
        if state.ended or time.time() - record.created > YOUNG_S:
            return record
        if state != JobState.TRAINING:  # nothing to read in its log yet
            record = wait(record, _has_begun, STARTING_HOLD_S)
        return wait(record, _ended, YOUNG_HOLD_S)

    @operation("StopTrainingJob")
    def stop(self, call: Call) -> None:
        """Ask a training job to stop."""
        record = self._found(call)
        try:
            self.jobs.stop_training_job(record.name)
        except StateError as error:
            raise validation_error(
                "The request was rejected because the training job is in status"
                f" {self.store.get(Kind.TRAINING_JOB, record.name).status}."
            ) from error

    @operation("UpdateTrainingJob")
    def update(self, call: Call) -> Mapping[str, Any]:
        """Change the profiler of a running job: the store and a file its supervisor reads."""
        record, asked = self._found(call), call.parameters
        if _ended(record):
            raise validation_error(
                f"Training job {record.name} is {record.status}; only a running one can be updated."
            )
        request = dict(record.request)
        for key in UPDATABLE:
            if key == "ProfilerRuleConfigurations" and asked.get(key):
                request[key] = [*(request.get(key) or ()), *asked[key]]
            elif asked.get(key):
                request[key] = {**(request.get(key) or {}), **asked[key]}
        self.store.update(Kind.TRAINING_JOB, record.name, request=request)
        update = Places(self.platform.home.training_job(record.name)).profiler_update
        if asked.get("ProfilerConfig") and update.parent.is_dir():
            write_atomic(update, json.dumps(request["ProfilerConfig"]).encode())
        return {"TrainingJobArn": record.arn}

    @operation("DeleteTrainingJob")
    def delete(self, call: Call) -> None:
        """Forget a training job that has ended; what it left in S3 stays."""
        record = self._found(call)
        if not _ended(record):
            raise validation_error(
                f"Training job {record.name} is {record.status}; stop it before deleting it."
            )
        if record.parent:
            raise validation_error(
                f"Training job {record.name} belongs to hyperparameter tuning job {record.parent},"
                " which counts it; delete that one."
            )
        self.store.delete(Kind.TRAINING_JOB, record.name)

    def _found(self, call: Call) -> Record:
        name = call.parameters["TrainingJobName"]
        check_name(name)
        return self.find(call, Kind.TRAINING_JOB, name)


def _ended(record: Record) -> bool:
    return record.status in ("Completed", "Failed", "Stopped")


def _has_begun(record: Record) -> bool:
    state = _state(record)
    return state.ended or state not in (
        JobState.PENDING,
        JobState.STARTING,
        JobState.DOWNLOADING,
    )


def _state(record: Record) -> JobState:
    return status_of(record).state
