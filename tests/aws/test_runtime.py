"""Endpoints over the wire, with boto3: made, called, changed and deleted as a client does it."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from houndsight.jobs.endpoints.service import EndpointService
from houndsight.jobs.endpoints.settings import EndpointsSettings
from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.processes import end_session, is_alive, read_identity, send
from tests.aws.conftest import Plane, make_platform, serve

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:1.8-cpu-py36"
ROLE = "arn:aws:iam::000000000000:role/houndsight"
SCRIPT = """
import json
def model_fn(model_dir): return {says!r}
def input_fn(body, content_type):
    if content_type == "image/jpeg":
        assert isinstance(body, bytearray)
        return len(body)
    if content_type != "application/json":
        raise Exception("Requested unsupported ContentType in content_type: " + content_type)
    return json.loads(body)
def predict_fn(data, model):
    return 1 / 0 if data == "divide" else [model, data]
def output_fn(prediction, accept, context):
    told = context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes") or "nothing"
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "told " + told)
    return json.dumps(prediction), accept
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane that runs endpoints, for the whole module."""
    root = tmp_path_factory.mktemp("plane")
    before = {k: os.environ.get(k) for k in ("HOUNDSIGHT_CACHE", DELETE)}
    os.environ |= {"HOUNDSIGHT_CACHE": str(root / "cache"), DELETE: "0"}
    home = PlatformHome(root / "platform")
    platform = make_platform(home)
    platform.endpoints = endpoints = EndpointService(
        home, platform.jobs.store, settings=EndpointsSettings(delete_seconds=0)
    )
    platform.attached.append(endpoints)
    try:
        yield from serve(platform)
    finally:
        _end_everything(home)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


DELETE = "HOUNDSIGHT_ENDPOINTS_DELETE_SECONDS"


def _end_everything(home: PlatformHome) -> None:
    for path in home.endpoints.glob("*/supervisor.json"):
        send(read_identity(path) or {}, 9)
        while is_alive(read_identity(path)):
            time.sleep(0.01)
    for path in home.endpoints.glob("*/generations/*/*/attempts/*/hosts/worker/process.json"):
        identity = read_identity(path)
        if identity is not None and identity["pid"] != os.getpid():
            send(identity, 9)
            end_session(identity, f"HOUNDSIGHT_JOB_WORKER={path.parents[2]}")


def archive(script: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("code/inference.py")
        info.size = len(script)
        tar.addfile(info, io.BytesIO(script.encode()))
    return buffer.getvalue()


def make_config(plane: Plane, name: str, *scripts: str, weights: tuple[float, ...] = ()) -> None:
    objects, sagemaker = plane.platform.objects, plane.client("sagemaker")
    if not objects.buckets():
        objects.create_bucket("bucket")
    variants = []
    for number, script in enumerate(scripts):
        model = f"{name}-m{number}"
        objects.put("bucket", f"{model}.tar.gz", archive(script))
        container = {
            "Image": IMAGE,
            "ModelDataUrl": f"s3://bucket/{model}.tar.gz",
            "Environment": {"SAGEMAKER_PROGRAM": "inference.py"},
        }
        sagemaker.create_model(ModelName=model, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variants.append(
            {
                "VariantName": f"V{number}",
                "ModelName": model,
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "InitialVariantWeight": weights[number] if weights else 1.0,
            }
        )
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)


def settled(plane: Plane, name: str) -> Mapping[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        told: Mapping[str, Any] = plane.client("sagemaker").describe_endpoint(EndpointName=name)
        if told["EndpointStatus"] in ("InService", "Failed"):
            return told
        time.sleep(0.05)
    raise AssertionError(f"{name} is still {told['EndpointStatus']}")


@pytest.fixture(scope="module")
def endpoint(plane: Plane) -> str:
    """An endpoint in service."""
    make_config(plane, "first", SCRIPT.format(says="one"))
    plane.client("sagemaker").create_endpoint(EndpointName="dogs", EndpointConfigName="first")
    told = settled(plane, "dogs")
    assert told["EndpointStatus"] == "InService", told
    return "dogs"


def invoke(plane: Plane, name: str = "dogs", **more: Any) -> Mapping[str, Any]:
    more.setdefault("ContentType", "application/json")
    answer: Mapping[str, Any] = plane.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, **more
    )
    return answer


def test_described(plane: Plane, endpoint: str) -> None:
    told = plane.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    assert told["EndpointConfigName"] == "first"
    [variant] = told["ProductionVariants"]
    assert variant["VariantName"] == "V0"
    assert variant["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    assert (variant["CurrentWeight"], variant["CurrentInstanceCount"]) == (1.0, 1)
    assert "FailureReason" not in told


def test_invoked(plane: Plane, endpoint: str) -> None:
    answer = invoke(plane, Body=b"[1]", Accept="application/json", CustomAttributes="c=1")
    assert json.loads(answer["Body"].read()) == ["one", [1]]
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "V0"
    assert answer["CustomAttributes"] == "told c=1"
    photo = bytes(range(256)) * 40
    answer = invoke(plane, Body=photo, ContentType="image/jpeg", TargetVariant="V0")
    assert json.loads(answer["Body"].read()) == ["one", len(photo)]


ERRORS: list[tuple[dict[str, Any], str, int, str]] = [
    ({"Body": b'"divide"'}, "ModelError", 424, "ZeroDivisionError: division by zero"),
    (
        {"Body": b"x", "ContentType": "image/png"},
        "ModelError",
        424,
        "Exception: Requested unsupported ContentType in content_type: image/png",
    ),
    ({"Body": b"x" * 6_291_457}, "ValidationError", 400, "a real-time endpoint takes 6,291,456"),
    ({"Body": b"1", "TargetVariant": "V7"}, "ValidationError", 400, "there are V0"),
    ({"Body": b"1", "TargetModel": "a.tar.gz"}, "ValidationError", 400, "multi-model"),
    ({"name": "cats", "Body": b"1"}, "ValidationError", 400, "Endpoint cats of account"),
]


@pytest.mark.parametrize(("request_", "code", "status", "said"), ERRORS, ids=lambda v: str(v)[:20])
def test_errors(
    plane: Plane, endpoint: str, request_: dict[str, Any], code: str, status: int, said: str
) -> None:
    with pytest.raises(ClientError) as caught:
        invoke(plane, **request_)
    response = caught.value.response
    assert response["Error"]["Code"] == code
    assert said in response["Error"]["Message"]
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    if code == "ModelError":
        assert response["OriginalStatusCode"] == 500
        assert response["OriginalMessage"] == said
        assert "/aws/sagemaker/Endpoints/dogs" in response["LogStreamArn"]


def test_what_is_not_here_says_so(plane: Plane, endpoint: str) -> None:
    runtime = plane.client("sagemaker-runtime")
    with pytest.raises(ClientError, match="no asynchronous endpoints"):
        runtime.invoke_endpoint_async(EndpointName=endpoint, InputLocation="s3://bucket/x")
    with pytest.raises(ClientError, match="does not stream answers"):
        runtime.invoke_endpoint_with_response_stream(EndpointName=endpoint, Body=b"1")


def test_logs(plane: Plane, endpoint: str) -> None:
    with pytest.raises(ClientError):
        invoke(plane, Body=b'"divide"')
    logs, group = plane.client("logs"), f"/aws/sagemaker/Endpoints/{endpoint}"
    [stream] = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"].startswith("V0/i-")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
        if any("ZeroDivisionError" in event["message"] for event in page["events"]):
            return
        time.sleep(0.1)
    raise AssertionError(page["events"])


def test_updated_weighed_and_deleted(plane: Plane, endpoint: str) -> None:
    sagemaker = plane.client("sagemaker")
    one, two = SCRIPT.format(says="one"), SCRIPT.format(says="two")
    make_config(plane, "second", one, two, weights=(0.0, 1.0))
    make_config(plane, "broken", "1 / 0\n")
    sagemaker.create_endpoint(EndpointName="moving", EndpointConfigName="second")
    with pytest.raises(ClientError, match="Cannot create already existing endpoint"):
        sagemaker.create_endpoint(EndpointName="moving", EndpointConfigName="second")
    assert settled(plane, "moving")["EndpointStatus"] == "InService"
    # A configuration and its models may go: the endpoint keeps what it needs.
    sagemaker.delete_endpoint_config(EndpointConfigName="second")
    sagemaker.delete_model(ModelName="second-m0")
    answer = invoke(plane, "moving", Body=b"1")
    assert answer["InvokedProductionVariant"] == "V1"
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="moving",
        DesiredWeightsAndCapacities=[
            {"VariantName": "V0", "DesiredWeight": 1},
            {"VariantName": "V1", "DesiredWeight": 0},
        ],
    )
    weights = {v["VariantName"]: v for v in settled(plane, "moving")["ProductionVariants"]}
    assert (weights["V0"]["CurrentWeight"], weights["V1"]["CurrentWeight"]) == (1.0, 0.0)
    assert json.loads(invoke(plane, "moving", Body=b"1")["Body"].read()) == ["one", 1]

    sagemaker.update_endpoint(EndpointName="moving", EndpointConfigName="broken")
    told = settled(plane, "moving")
    assert (told["EndpointStatus"], told["EndpointConfigName"]) == ("InService", "second")
    assert "ZeroDivisionError" in told["FailureReason"]
    sagemaker.update_endpoint(EndpointName="moving", EndpointConfigName="first")
    told = settled(plane, "moving")
    assert (told["EndpointStatus"], told["EndpointConfigName"]) == ("InService", "first")
    assert [v["VariantName"] for v in told["ProductionVariants"]] == ["V0"]

    sagemaker.delete_endpoint(EndpointName="moving")
    sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName="moving", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    with pytest.raises(ClientError, match="Could not find endpoint"):
        sagemaker.delete_endpoint(EndpointName="moving")


def test_a_failed_endpoint_says_why(plane: Plane, tmp_path: Path) -> None:
    sagemaker = plane.client("sagemaker")
    make_config(plane, "bad", "def model_fn(model_dir):\n    raise KeyError('fc.weight')\n")
    sagemaker.create_endpoint(EndpointName="bad", EndpointConfigName="bad")
    told = settled(plane, "bad")
    assert told["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in told["FailureReason"]
    assert "KeyError: 'fc.weight'" in told["FailureReason"]
    sagemaker.delete_endpoint(EndpointName="bad")
