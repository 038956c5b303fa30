"""The files of `/opt/ml/input/config`, and a host's `/etc/hosts`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from houndsight.jobs.container.host import Host

__all__ = ["input_data_config", "resource_config", "write_config_files", "write_hosts_file"]

GROUP = "homogeneousCluster"
INTERFACE = "lo"
"""All hosts of a job are this machine."""


def resource_config(host: Host) -> dict[str, Any]:
    """`resourceconfig.json`."""
    spec = host.spec
    group = {
        "instance_group_name": GROUP,
        "instance_type": spec.instance_type,
        "hosts": list(spec.hosts),
    }
    return {
        "current_host": host.name,
        "current_instance_type": spec.instance_type,
        "current_group_name": GROUP,
        "hosts": sorted(spec.hosts),
        "instance_groups": [group],
        "network_interface_name": INTERFACE,
    }


def input_data_config(host: Host) -> dict[str, dict[str, str]]:
    """`inputdataconfig.json`."""
    config: dict[str, dict[str, str]] = {}
    for channel in host.spec.channels:
        row = {
            "TrainingInputMode": channel.input_mode,
            "S3DistributionType": channel.distribution,
            "RecordWrapperType": channel.record_wrapper,
        }
        if channel.content_type:
            row["ContentType"] = channel.content_type
        config[channel.name] = row
    return config


def write_config_files(host: Host) -> None:
    """Write every file of `input/config` that SageMaker writes and this host's job has."""
    spec = host.spec
    files: dict[str, Any] = {
        "hyperparameters": dict(spec.hyperparameters),
        "resourceconfig": resource_config(host),
        "inputdataconfig": input_data_config(host),
        "metric-definition-regex": [
            {"name": metric.name, "regex": metric.regex} for metric in spec.metric_definitions
        ],
        "trainingjobconfig": {
            "TrainingJobName": spec.name,
            "TrainingJobArn": spec.arn,
            "Region": spec.region,
        },
        "upstreamoutputdataconfig": {},
    }
    if spec.checkpoint is not None:
        row = {"S3Uri": spec.checkpoint.s3_uri, "LocalPath": spec.checkpoint.local_path}
        files["checkpointconfig"] = row
    for name, content in files.items():
        path = host.folder.ml / "input" / "config" / f"{name}.json"
        path.write_text(json.dumps(content))


def write_hosts_file(host: Host) -> Path:
    """This machine's `/etc/hosts`, with the job's hosts at its head."""
    names = " ".join([host.name, *(name for name in host.spec.hosts if name != host.name)])
    system = Path("/etc/hosts")
    kept = system.read_text(errors="replace") if system.is_file() else "127.0.0.1 localhost\n"
    path = host.folder.path / "etc-hosts"
    path.write_text(f"127.0.0.1 localhost {names}\n{kept}")
    return path
