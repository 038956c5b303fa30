"""A training job's request, in SageMaker's words, made into a `TrainingSpec`.

The request is what `CreateTrainingJob` takes; a tuning job makes one for each of its children.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from houndsight.errors import HoundsightError
from houndsight.jobs.spec import Channel, CheckpointSpec, MetricDefinition, TrainingSpec

__all__ = [
    "TUNING_MARK",
    "BadRequestError",
    "check_metric_definitions",
    "check_name",
    "training_spec",
    "unquoted",
]

MOST_HOSTS = 64
DEFAULT_MAX_RUNTIME_S = 86_400
TUNING_MARK = "_Tuning"
"""Key of a child's stored request that says which trial of which tuning job it is."""
UNSUPPORTED = {
    "FileSystemDataSource": "EFS and FSx folders",
    "DatasetSource": "data sets of a hub",
}
_NAME = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9])*")


class BadRequestError(HoundsightError):
    """A request asks for what cannot be; the sentence is for the client."""


def check_name(name: str, *, longest: int = 63, what: str = "name") -> None:
    """Refuse a name that could not stand in a path or an ARN.

    Raises:
        BadRequestError: it is empty, too long or has other characters.
    """
    if len(name) > longest or not _NAME.fullmatch(name):
        raise BadRequestError(
            f"The {what} {name[:80]!r} must have 1 to {longest} letters, digits and hyphens, and"
            " neither begin nor end with a hyphen."
        )


def training_spec(
    name: str,
    arn: str,
    request: Mapping[str, Any],
    *,
    region: str = "us-east-1",
    tuning_job: str = "",
    parallel_jobs: int = 1,
) -> TrainingSpec:
    """What the engine needs to run the job that `request` asks for.

    Raises:
        BadRequestError: the request asks for what Houndsight does not have, for too many
            instances, or a regular expression of a metric is none.
    """
    algorithm = request.get("AlgorithmSpecification") or {}
    image = str(algorithm.get("TrainingImage") or "")
    if not image:
        raise BadRequestError(
            "AlgorithmSpecification has no TrainingImage: Houndsight runs script mode images,"
            " algorithms of the AWS Marketplace (AlgorithmName) it does not have."
        )
    metrics = check_metric_definitions(algorithm.get("MetricDefinitions") or ())
    mode = str(algorithm.get("TrainingInputMode") or "File")
    instance_type, count = _instances(request.get("ResourceConfig") or {})
    return TrainingSpec(
        name=name,
        arn=arn,
        image=image,
        entrypoint=tuple(algorithm.get("ContainerEntrypoint") or ()),
        arguments=tuple(algorithm.get("ContainerArguments") or ()),
        hyperparameters=dict(request.get("HyperParameters") or {}),
        environment=dict(request.get("Environment") or {}),
        channels=tuple(_channel(row, mode) for row in request.get("InputDataConfig") or ()),
        output_s3_uri=str((request.get("OutputDataConfig") or {}).get("S3OutputPath") or ""),
        checkpoint=_checkpoint(request.get("CheckpointConfig")),
        instance_type=instance_type,
        instance_count=count,
        max_runtime_s=_max_runtime(request.get("StoppingCondition") or {}),
        metric_definitions=metrics,
        region=region,
        tuning_job=tuning_job,
        parallel_jobs=parallel_jobs,
        debug_hook=request.get("DebugHookConfig"),
        debug_rules=tuple(request.get("DebugRuleConfigurations") or ()),
        profiler=request.get("ProfilerConfig"),
        profiler_rules=tuple(request.get("ProfilerRuleConfigurations") or ()),
    )


def check_metric_definitions(
    definitions: Any, *, where: str = "MetricDefinitions"
) -> tuple[MetricDefinition, ...]:
    """The metric definitions, their regular expressions compiled once to see that they are some.

    Raises:
        BadRequestError: one is no regular expression.
    """
    checked = []
    for row in definitions:
        name, regex = str(row["Name"]), str(row["Regex"])
        try:
            re.compile(regex)
        except (re.error, OverflowError, RecursionError) as error:
            raise BadRequestError(
                f"{where}: the regular expression {regex!r} of metric {name!r} cannot be read:"
                f" {error}."
            ) from error
        checked.append(MetricDefinition(name=name, regex=regex))
    return tuple(checked)


def unquoted(text: str) -> str:
    """A hyperparameter's text without the JSON quotes that SDK 2 puts around strings."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str) else text


def _channel(row: Mapping[str, Any], mode: str) -> Channel:
    name = str(row["ChannelName"])
    source = row.get("DataSource") or {}
    stored = source.get("S3DataSource")
    if stored is None:
        what = next((text for key, text in UNSUPPORTED.items() if key in source), "this source")
        raise BadRequestError(
            f"InputDataConfig: channel {name} has no S3DataSource; Houndsight reads channels from"
            f" S3 only, not from {what}. Upload the data and give its S3 URI."
        )
    if name in (".", "..") or "/" in name:
        raise BadRequestError(f"InputDataConfig: {name!r} cannot be the name of a channel.")
    return Channel(
        name=name,
        s3_uri=str(stored["S3Uri"]),
        data_type=str(stored.get("S3DataType") or "S3Prefix"),
        distribution=str(stored.get("S3DataDistributionType") or "FullyReplicated"),
        input_mode=str(row.get("InputMode") or mode),
        content_type=str(row.get("ContentType") or ""),
        compression=str(row.get("CompressionType") or "None"),
        record_wrapper=str(row.get("RecordWrapperType") or "None"),
    )


def _checkpoint(row: Mapping[str, Any] | None) -> CheckpointSpec | None:
    if not row or not row.get("S3Uri"):
        return None
    local = str(row.get("LocalPath") or "/opt/ml/checkpoints")
    return CheckpointSpec(s3_uri=str(row["S3Uri"]), local_path=local)


def _instances(resources: Mapping[str, Any]) -> tuple[str, int]:
    """The instance type and count, of the first group when there are groups.

    Raises:
        BadRequestError: that many processes would choke this machine.
    """
    groups = resources.get("InstanceGroups") or ()
    first, counted = (groups[0], groups) if groups else (resources, [resources])
    count = max(1, sum(int(row.get("InstanceCount") or 1) for row in counted))
    if count > MOST_HOSTS:
        raise BadRequestError(
            f"ResourceConfig asks for {count:,} instances. Each is a process of this machine, which"
            f" takes {MOST_HOSTS} at most: lower InstanceCount."
        )
    return str(first.get("InstanceType") or "ml.m5.xlarge"), count


def _max_runtime(condition: Mapping[str, Any]) -> int:
    return max(1, int(condition.get("MaxRuntimeInSeconds") or DEFAULT_MAX_RUNTIME_S))
