"""A tuning job's record in SageMaker's words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from houndsight.aws.sagemaker.resource import without_empty
from houndsight.aws.sagemaker.training_reply import DEFAULT_VOLUME_GB, end_time, status_of
from houndsight.jobs.request import TUNING_MARK
from houndsight.jobs.states import Kind, NotFoundError
from houndsight.jobs.store import JobStore, Record
from houndsight.jobs.tuning.earlier import stored_plan
from houndsight.jobs.tuning.plan import OBJECTIVE_KEY, Plan
from houndsight.jobs.tuning.states import Progress
from houndsight.jobs.tuning.trials import objective_of, resources_of, tuned_of

__all__ = ["trial_summary", "tuning_reply", "tuning_summary"]

COUNTERS = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
OBJECTIVE_COUNTERS = ("Succeeded", "Pending", "Failed")


def tuning_reply(record: Record, store: JobStore) -> dict[str, Any]:
    """The whole reply of DescribeHyperParameterTuningJob."""
    request, plan = record.request, stored_plan(record)
    progress = Progress.from_json(record.detail)
    reply = {
        **_shared(record, progress),
        "HyperParameterTuningJobConfig": _config(request["HyperParameterTuningJobConfig"], plan),
        "TrainingJobDefinition": _definition(
            request.get("TrainingJobDefinition"), plan.definitions[0].objective
        ),
        "TrainingJobDefinitions": [
            _definition(row, plan.definition(row["DefinitionName"]).objective)
            for row in request.get("TrainingJobDefinitions") or ()
        ]
        or None,
        "BestTrainingJob": _best(store, progress.best),
        "OverallBestTrainingJob": _best(store, progress.overall_best),
        "WarmStartConfig": request.get("WarmStartConfig"),
        "Autotune": request.get("Autotune"),
        "FailureReason": progress.failure_reason or None,
        "TuningJobCompletionDetails": without_empty(
            {
                "NumberOfTrainingJobsObjectiveNotImproving": progress.not_improving,
                "ConvergenceDetectedTime": progress.converged,
            }
        ),
        "ConsumedResources": {
            "RuntimeInSeconds": int((progress.ended or time.time()) - record.created)
        },
    }
    reply.pop("ResourceLimits")
    reply.pop("Strategy")
    return without_empty(reply)


def tuning_summary(record: Record) -> dict[str, Any]:
    """One row of ListHyperParameterTuningJobs."""
    return without_empty(_shared(record, Progress.from_json(record.detail)))


def trial_summary(record: Record, plan: Plan) -> dict[str, Any]:
    """One row of ListTrainingJobsForHyperParameterTuningJob."""
    status, mark = status_of(record), record.request.get(TUNING_MARK) or {}
    definition = plan.definition(mark.get("Definition", ""))
    value = objective_of(status, definition.objective)
    judged = "Pending" if not status.state.ended else "Failed" if value is None else "Succeeded"
    final = None
    if value is not None:
        final = {
            "Type": definition.direction.value.capitalize(),
            "MetricName": definition.objective,
            "Value": value,
        }
    return without_empty(
        {
            "TrainingJobDefinitionName": definition.name or None,
            "TrainingJobName": record.name,
            "TrainingJobArn": record.arn,
            "CreationTime": record.created,
            "TrainingStartTime": status.training_started,
            "TrainingEndTime": end_time(status),
            "TrainingJobStatus": record.status,
            "TunedHyperParameters": tuned_of(
                definition, record.request.get("HyperParameters") or {}
            ),
            "FailureReason": status.failure_reason[:1_024] or None,
            "FinalHyperParameterTuningJobObjectiveMetric": final,
            "ObjectiveStatus": judged,
        }
    )


def _shared(record: Record, progress: Progress) -> dict[str, Any]:
    config = record.request["HyperParameterTuningJobConfig"]
    return {
        "HyperParameterTuningJobName": record.name,
        "HyperParameterTuningJobArn": record.arn,
        "HyperParameterTuningJobStatus": record.status,
        "Strategy": config.get("Strategy") or "Bayesian",
        "CreationTime": record.created,
        "HyperParameterTuningEndTime": progress.ended,
        "LastModifiedTime": record.modified,
        "TrainingJobStatusCounters": {key: progress.counters.get(key, 0) for key in COUNTERS},
        "ObjectiveStatusCounters": {
            key: progress.objective_counters.get(key, 0) for key in OBJECTIVE_COUNTERS
        },
        "ResourceLimits": config.get("ResourceLimits") or {"MaxParallelTrainingJobs": 1},
    }


def _config(config: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """With the defaults that the SDK's attach reads."""
    limits = {
        "MaxNumberOfTrainingJobs": plan.max_jobs,
        "MaxParallelTrainingJobs": plan.max_parallel,
        **(config.get("ResourceLimits") or {}),
    }
    return {
        "Strategy": "Bayesian",
        "TrainingJobEarlyStoppingType": "Off",
        **config,
        "ResourceLimits": limits,
    }


def _definition(row: Mapping[str, Any] | None, objective: str) -> dict[str, Any] | None:
    """A training job definition with what attach reads, `ResourceConfig` above all."""
    if row is None:
        return None
    return {
        **row,
        "StaticHyperParameters": {
            **(row.get("StaticHyperParameters") or {}),
            OBJECTIVE_KEY: objective,
        },
        "AlgorithmSpecification": {
            "MetricDefinitions": [],
            **(row.get("AlgorithmSpecification") or {}),
        },
        "OutputDataConfig": {"KmsKeyId": "", **(row.get("OutputDataConfig") or {})},
        "ResourceConfig": {"VolumeSizeInGB": DEFAULT_VOLUME_GB, **resources_of(row)},
    }


def _best(store: JobStore, name: str) -> dict[str, Any] | None:
    """The summary of a training job, which may be one of a parent."""
    if not name:
        return None
    try:
        record = store.get(Kind.TRAINING_JOB, name)
        plan = stored_plan(store.get(Kind.TUNING_JOB, record.parent))
    except NotFoundError:
        return None
    return {**trial_summary(record, plan), "TuningJobName": record.parent}
