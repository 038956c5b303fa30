"""A training job's record in the words of DescribeTrainingJob."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from houndsight.aws.sagemaker.resource import without_empty
from houndsight.jobs.request import DEFAULT_MAX_RUNTIME_S, TUNING_MARK
from houndsight.jobs.status import JobState, JobStatus, RuleStatus
from houndsight.jobs.store import Record

__all__ = ["DEFAULT_VOLUME_GB", "end_time", "status_of", "training_reply", "training_summary"]

ECHOED = (
    "HyperParameters",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "CheckpointConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ExperimentConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "Environment",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
    "MlflowConfig",
)
"""Members of the request that the reply holds as they came."""
DEFAULT_VOLUME_GB = 30
LONGEST_REASON = 1_024


def status_of(record: Record) -> JobStatus:
    """Where the job stands, as its supervisor said."""
    return JobStatus.from_json(dict(record.detail)) if record.detail else JobStatus()


def training_reply(record: Record) -> dict[str, Any]:
    """The whole reply of DescribeTrainingJob."""
    request, status = record.request, status_of(record)
    tuning = request.get(TUNING_MARK) or {}
    started, ended = status.training_started, end_time(status)
    seconds = None
    if started is not None and status.state.ended:
        seconds = max(1, round((status.training_ended or ended or started) - started))
    reply = {
        **{key: request[key] for key in ECHOED if request.get(key) is not None},
        "TrainingJobName": record.name,
        "TrainingJobArn": record.arn,
        "TuningJobArn": tuning.get("Arn"),
        "ModelArtifacts": {"S3ModelArtifacts": _model(record, status)},
        "TrainingJobStatus": record.status,
        "SecondaryStatus": status.state.value,
        "FailureReason": status.failure_reason[:LONGEST_REASON] or None,
        **_defaulted(request),
        "CreationTime": record.created,
        "TrainingStartTime": started,
        "TrainingEndTime": ended,
        "LastModifiedTime": record.modified,
        "SecondaryStatusTransitions": [
            without_empty(
                {
                    "Status": t.status,
                    "StartTime": t.start,
                    "EndTime": t.end,
                    "StatusMessage": t.message,
                }
            )
            for t in status.transitions
        ],
        "FinalMetricDataList": _final_metrics(status),
        "TrainingTimeInSeconds": seconds,
        "BillableTimeInSeconds": seconds,
        "ProfilingStatus": _profiling(request),
        **_rules(record, status),
    }
    return without_empty(reply)


def training_summary(record: Record) -> dict[str, Any]:
    """One row of ListTrainingJobs."""
    status = status_of(record)
    return without_empty(
        {
            "TrainingJobName": record.name,
            "TrainingJobArn": record.arn,
            "CreationTime": record.created,
            "TrainingEndTime": end_time(status),
            "LastModifiedTime": record.modified,
            "TrainingJobStatus": record.status,
            "SecondaryStatus": status.state.value,
        }
    )


def end_time(status: JobStatus) -> float | None:
    """When it ended, also when the script never began."""
    if not status.state.ended:
        return None
    if status.training_ended is not None:
        return status.training_ended
    return status.transitions[-1].start if status.transitions else status.modified


def _defaulted(request: Mapping[str, Any]) -> dict[str, Any]:
    """Members with the defaults that SageMaker fills in and the SDK's attach reads."""
    output = {"KmsKeyId": "", "CompressionType": "GZIP", **(request.get("OutputDataConfig") or {})}
    resources = dict(request.get("ResourceConfig") or {})
    if not resources.get("InstanceGroups"):
        resources = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, **resources}
    stopping = {
        "MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S,
        **(request.get("StoppingCondition") or {}),
    }
    return {
        "AlgorithmSpecification": {
            "TrainingInputMode": "File",
            "MetricDefinitions": [],
            "EnableSageMakerMetricsTimeSeries": False,
            **(request.get("AlgorithmSpecification") or {}),
        },
        "OutputDataConfig": output,
        "ResourceConfig": {"VolumeSizeInGB": DEFAULT_VOLUME_GB, **resources},
        "StoppingCondition": stopping,
        "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation")),
        "EnableInterContainerTrafficEncryption": bool(
            request.get("EnableInterContainerTrafficEncryption")
        ),
        "EnableManagedSpotTraining": bool(request.get("EnableManagedSpotTraining")),
    }


def _model(record: Record, status: JobStatus) -> str:
    """Where the model is or will be; empty when there will be none."""
    if status.model_artifact or status.state in (JobState.FAILED, JobState.STOPPED):
        return status.model_artifact
    path = str((record.request.get("OutputDataConfig") or {}).get("S3OutputPath") or "")
    return f"{path.rstrip('/')}/{record.name}/output/model.tar.gz" if path else ""


def _final_metrics(status: JobStatus) -> list[dict[str, Any]] | None:
    rows = [
        {"MetricName": name, "Value": value, "Timestamp": at}
        for name, (value, at) in status.metrics.items()
        if math.isfinite(value)
    ]
    return rows or None


def _profiling(request: Mapping[str, Any]) -> str:
    config = request.get("ProfilerConfig")
    return "Disabled" if not config or config.get("DisableProfiler") else "Enabled"


def _rules(record: Record, status: JobStatus) -> dict[str, Any]:
    members = {
        "DebugRuleEvaluationStatuses": ("DebugRuleConfigurations", status.rules),
        "ProfilerRuleEvaluationStatuses": ("ProfilerRuleConfigurations", status.profiler_rules),
    }
    return {
        member: _rule_statuses(record, status, record.request.get(asked) or (), known) or None
        for member, (asked, known) in members.items()
    }


def _rule_statuses(
    record: Record,
    status: JobStatus,
    asked: Sequence[Mapping[str, Any]],
    known: Mapping[str, RuleStatus],
) -> list[dict[str, Any]]:
    rows = []
    for rule in asked:
        name = rule["RuleConfigurationName"]
        judged = known.get(name) or _unjudged(status)
        rows.append(
            without_empty(
                {
                    "RuleConfigurationName": name,
                    "RuleEvaluationJobArn": _rule_arn(record, name),
                    "RuleEvaluationStatus": judged.status,
                    "StatusDetails": judged.details[:LONGEST_REASON] or None,
                    "LastModifiedTime": judged.modified or record.modified,
                }
            )
        )
    return rows


def _unjudged(status: JobStatus) -> RuleStatus:
    """How a rule stands that nothing was heard of."""
    if not status.state.ended:
        return RuleStatus("InProgress")
    if status.state == JobState.COMPLETED:
        return RuleStatus("Error", "The rule was not evaluated.")
    return RuleStatus("Stopped", "The training job ended before the rule could be evaluated.")


def _rule_arn(record: Record, rule: str) -> str:
    """A processing job's name, as SageMaker makes it: 26 characters of each and eight digits."""
    digest = hashlib.sha256(f"{record.arn} {rule}".encode()).hexdigest()[:8]
    prefix = ":".join(record.arn.split(":")[:5])
    return f"{prefix}:processing-job/{record.name[:26]}-{rule[:26]}-{digest}".lower()
