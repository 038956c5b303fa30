"""What a training job is asked to do, as the engine and its supervisor need it.

Made from a request of the API (`houndsight.aws`), written as `spec.json` into the job's folder
before anything starts, and never changed: all that happens afterwards stands in `status.json`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from houndsight.errors import RunError
from houndsight.files import write_atomic

__all__ = ["Channel", "CheckpointSpec", "MetricDefinition", "TrainingSpec"]

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One input of a job: what SageMaker calls `InputDataConfig[]`."""

    name: str
    s3_uri: str
    data_type: str = "S3Prefix"
    """`S3Prefix`, `ManifestFile` or `AugmentedManifestFile`."""
    distribution: str = "FullyReplicated"
    """`FullyReplicated` or `ShardedByS3Key`."""
    input_mode: str = "File"
    """`File`, `FastFile` or `Pipe`."""
    content_type: str = ""
    compression: str = "None"
    record_wrapper: str = "None"


@dataclass(frozen=True, kw_only=True)
class CheckpointSpec:
    """Where checkpoints are synced to while the script runs."""

    s3_uri: str
    local_path: str = "/opt/ml/checkpoints"


@dataclass(frozen=True, kw_only=True)
class MetricDefinition:
    """A metric read from the log: the first group of `regex` on a line is a value."""

    name: str
    regex: str


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """A training job. Strings stand as the client sent them."""

    name: str
    arn: str
    image: str
    """The image's URI; framework, version and Python version are read from its tag."""
    entrypoint: tuple[str, ...] = ()
    """The container's command (SDK 3); empty for script mode, where hyperparameters name it."""
    arguments: tuple[str, ...] = ()
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    output_s3_uri: str = ""
    checkpoint: CheckpointSpec | None = None
    instance_type: str = "ml.m5.xlarge"
    instance_count: int = 1
    max_runtime_s: int = 86_400
    metric_definitions: tuple[MetricDefinition, ...] = ()
    region: str = "us-east-1"
    tuning_job: str = ""
    parallel_jobs: int = 1
    """How many jobs share the machine: `max_parallel_jobs` of the tuning job."""
    debug_hook: Mapping[str, Any] | None = None
    """`DebugHookConfig` as sent."""
    debug_rules: tuple[Mapping[str, Any], ...] = ()
    """`DebugRuleConfigurations` as sent."""
    profiler: Mapping[str, Any] | None = None
    """`ProfilerConfig` as sent."""
    profiler_rules: tuple[Mapping[str, Any], ...] = ()
    """`ProfilerRuleConfigurations` as sent."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """`algo-1`, `algo-2` …"""
        return tuple(f"algo-{number}" for number in range(1, self.instance_count + 1))

    def write(self, path: Path) -> None:
        """Write it as JSON, by rename."""
        write_atomic(path, json.dumps(self.to_json(), indent=1).encode())

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return {"version": VERSION, **dataclasses.asdict(self)}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            RunError: the file is damaged or of a newer version.
        """
        try:
            row = json.loads(path.read_bytes())
            version = row.pop("version")
        except (ValueError, KeyError, AttributeError) as error:
            raise RunError(
                f"{path} is damaged: {error}. Delete the job and start it again."
            ) from error
        if version > VERSION:
            raise RunError(
                f"{path} was written by a newer Houndsight (format {version}, this one reads"
                f" {VERSION}): update Houndsight."
            )
        return cls.from_json(row)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """From what `to_json` made."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {name: value for name, value in row.items() if name in known}
        values["channels"] = tuple(Channel(**c) for c in values.get("channels", ()))
        values["metric_definitions"] = tuple(
            MetricDefinition(**m) for m in values.get("metric_definitions", ())
        )
        if values.get("checkpoint"):
            values["checkpoint"] = CheckpointSpec(**values["checkpoint"])
        for name in ("entrypoint", "arguments", "debug_rules", "profiler_rules"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)
