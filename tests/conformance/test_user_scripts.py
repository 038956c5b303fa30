"""Scripts in the manner of public ones run as they are, and broken ones say what is wrong.

All are started at once, as jobs of a real control plane, through boto3; each test looks at one.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from user_scripts import aged, arguments, broken, channels, debugging, metrics
from user_scripts.case import Case

boto3 = pytest.importorskip("boto3", reason="the extra `sagemaker` is not installed")
pytest.importorskip("sqlalchemy", reason="the extra `platform` is not installed")

CASES = tuple(
    case
    for group in (arguments, channels, metrics, debugging, aged, broken)
    for case in group.CASES
)
BUCKET = "sagemaker-us-east-1-000000000000"
ROLE = "arn:aws:iam::000000000000:role/houndsight"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:"
PATIENCE_S = 240


@dataclass(frozen=True)
class Plane:
    """A running control plane, and what clients need to reach it."""

    environment: Mapping[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )


def job_name(case: Case) -> str:
    return "case-" + re.sub("[^a-z0-9]+", "-", case.name.lower()).strip("-")[:50].strip("-")


def houndsight(*words: str, environment: Mapping[str, str]) -> str:
    command = [sys.executable, "-m", "houndsight", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(text: str) -> dict[str, str]:
    """The variables that `eval "$(houndsight env)"` sets."""
    words = [shlex.split(line.removeprefix("export ")) for line in text.splitlines() if "=" in line]
    pairs = [word.partition("=") for line in words for word in line]
    return {name: value for name, _, value in pairs}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {
        "HOUNDSIGHT_HOME": str(home / "state"),
        "HOUNDSIGHT_CACHE": str(home / "cache"),
        "HOUNDSIGHT_WEIGHTS": str(weights(home / "weights")),
    }
    houndsight("up", "--port", "0", environment=environment)
    try:
        yield Plane(exported(houndsight("env", environment=environment)))
    finally:
        houndsight("down", environment=environment)


def weights(folder: Path) -> Path:
    """A ResNet-18 under its public name, with values that are easily known again."""
    import torch
    from torchvision.models import resnet18

    folder.mkdir()
    state = resnet18(weights=None).state_dict()
    state["conv1.weight"].fill_(0.5)
    torch.save(state, folder / "resnet18-f37072fd.pth")
    return folder


@pytest.fixture(scope="module")
def jobs(plane: Plane) -> Mapping[str, str]:
    """The name of every case's job, all of them started."""
    s3, sagemaker = plane.client("s3"), plane.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    for case in CASES:
        for channel in case.channels:
            upload_photos(s3, f"{job_name(case)}/{channel}")
        key = f"{job_name(case)}/source/sourcedir.tar.gz"
        s3.put_object(Bucket=BUCKET, Key=key, Body=packed(case.source))
        sagemaker.create_training_job(**request(case, f"s3://{BUCKET}/{key}"))
    return {case.name: job_name(case) for case in CASES}


def upload_photos(s3: Any, prefix: str) -> None:
    from PIL import Image

    for split in ("train", "valid", "test"):
        for label in ("001.Cat", "002.Dog"):
            photo = io.BytesIO()
            Image.new("RGB", (8, 8), "red").save(photo, "PNG")
            key = f"{prefix}/{split}/{label}/a photo.png"
            s3.put_object(Bucket=BUCKET, Key=key, Body=photo.getvalue())


def packed(source: Mapping[str, str]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, text in source.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return whole.getvalue()


def request(case: Case, source: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "TrainingJobName": job_name(case),
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE + case.framework,
            "TrainingInputMode": case.input_mode,
            "MetricDefinitions": [{"Name": n, "Regex": r} for n, r in case.metrics.items()],
        },
        "HyperParameters": {
            "sagemaker_program": f'"{case.entry}"',
            "sagemaker_submit_directory": f'"{source}"',
            "sagemaker_container_log_level": "20",
            "sagemaker_region": '"us-east-1"',
            **case.hyperparameters,
        },
        "InputDataConfig": [channel(case, name) for name in case.channels],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": case.hosts,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    if case.checkpoints:
        uri = f"s3://{BUCKET}/{job_name(case)}/checkpoints"
        made["CheckpointConfig"] = {"S3Uri": uri}
    if case.hooked:
        made["DebugHookConfig"] = {
            "S3OutputPath": f"s3://{BUCKET}/",
            "HookParameters": {"train.save_interval": "1", "eval.save_interval": "1"},
            "CollectionConfigurations": [{"CollectionName": "losses"}],
        }
        made["DebugRuleConfigurations"] = [
            {
                "RuleConfigurationName": name,
                "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/rules:latest",
                "RuleParameters": {"rule_to_invoke": name},
            }
            for name in ("LossNotDecreasing", "VanishingGradient")
        ]
    return made


def channel(case: Case, name: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "InputMode": case.input_mode,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": f"s3://{BUCKET}/{job_name(case)}/{name}",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def ended(sagemaker: Any, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
        if job["TrainingJobStatus"] not in ("InProgress", "Stopping"):
            return job
        time.sleep(0.2)
    raise AssertionError(f"{name} is {job['SecondaryStatus']} after {PATIENCE_S} s")


def log_of(logs: Any, name: str) -> str:
    group = "/aws/sagemaker/TrainingJobs"
    try:
        events = logs.filter_log_events(logGroupName=group, logStreamNamePrefix=f"{name}/")
    except logs.exceptions.ResourceNotFoundException:
        return ""
    return "\n".join(event["message"] for event in events["events"])


def members(s3: Any, uri: str) -> set[str]:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    whole = io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    with tarfile.open(fileobj=whole) as archive:
        return {member.name.removeprefix("./") for member in archive.getmembers()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_ends_as_it_should(plane: Plane, jobs: Mapping[str, str], case: Case) -> None:
    s3 = plane.client("s3")
    name = jobs[case.name]
    job = ended(plane.client("sagemaker"), name)
    log = log_of(plane.client("logs"), name)
    told = f"{job.get('FailureReason', '')}\n{log}"
    assert job["TrainingJobStatus"] == case.status, told
    for pattern in case.logged:
        assert re.search(pattern, log), told
    for pattern in case.failure:
        assert re.search(pattern, job["FailureReason"]), told
    final = {m["MetricName"]: m["Value"] for m in job.get("FinalMetricDataList", [])}
    assert final == pytest.approx(dict(case.values), abs=1e-6)
    if case.archive:
        assert set(case.archive) <= members(s3, job["ModelArtifacts"]["S3ModelArtifacts"])
    if case.output:
        assert set(case.output) <= members(s3, f"s3://{BUCKET}/{name}/output/output.tar.gz")
    if case.checkpoints:
        key = f"{name}/checkpoints/last.pt"
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"3"
    if case.hooked:
        statuses = {r["RuleEvaluationStatus"] for r in job["DebugRuleEvaluationStatuses"]}
        assert statuses <= {"NoIssuesFound", "IssuesFound"}
    if case.tensors:
        assert set(case.tensors) <= tensor_names(plane, f"s3://{BUCKET}/{name}/debug-output")


def tensor_names(plane: Plane, path: str) -> set[str]:
    """As a notebook sees them."""
    code = f"from smdebug.trials import create_trial; print(*create_trial({path!r}).tensor_names())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | plane.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("case", [c for c in CASES if "writes into" in c.name], ids=["written"])
def test_a_script_that_writes_into_its_channel_leaves_the_store_alone(
    plane: Plane, jobs: Mapping[str, str], case: Case
) -> None:
    ended(plane.client("sagemaker"), jobs[case.name])
    listed = plane.client("s3").list_objects_v2(
        Bucket=BUCKET, Prefix=f"{jobs[case.name]}/training/"
    )
    assert len(listed["Contents"]) == 6
    for entry in listed["Contents"]:
        stored = plane.client("s3").get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
        assert stored.startswith(b"\x89PNG")
