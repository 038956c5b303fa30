"""Endpoints as processes: from creation to deletion, and what goes wrong with them."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from houndsight.jobs.endpoints.invoking import InvocationError
from houndsight.jobs.local.processes import is_alive
from houndsight.jobs.states import ExistsError, Kind
from tests.jobs.endpoints.conftest import Endpoints, wait_for

DOUBLE = """
import json, os
def model_fn(model_dir):
    print("loading", model_dir, os.getcwd(), flush=True)
    return 2
def input_fn(body, content_type): return json.loads(body)
def predict_fn(data, model):
    if data == "boom":
        raise ValueError("boom happened")
    return data * model
def output_fn(prediction, accept): return json.dumps(prediction)
"""


def script(text: str = DOUBLE) -> dict[str, bytes | str]:
    return {"code/inference.py": text}


def test_an_endpoint_lives_and_is_forgotten(endpoints: Endpoints) -> None:
    record = endpoints.create("ep", endpoints.model(script()))
    assert record.status == "Creating"
    with pytest.raises(InvocationError, match="is being created") as early:
        endpoints.invoke("ep", "1")
    assert (early.value.code, early.value.status) == ("ModelNotReadyException", 429)
    with pytest.raises(ExistsError):
        endpoints.create("ep", endpoints.model(script()))

    record = endpoints.settled("ep")
    assert record.status == "InService"
    assert record.detail["config"] == "ep-1"
    [variant] = record.detail["variants"]
    assert (variant["CurrentInstanceCount"], variant["CurrentWeight"]) == (1, 1.0)

    reply = endpoints.invoke("ep", "21")
    assert (reply.body, reply.content_type, reply.variant) == (b"42", "application/json", "A")
    with pytest.raises(InvocationError, match="boom happened") as failed:
        endpoints.invoke("ep", '"boom"')
    assert failed.value.status == 424
    assert failed.value.fields["OriginalStatusCode"] == 500
    assert failed.value.fields["OriginalMessage"] == "ValueError: boom happened"
    assert failed.value.fields["LogStreamArn"].endswith("log-group:/aws/sagemaker/Endpoints/ep")
    assert "predict_fn (inference.py, line 9, in predict_fn)" in str(failed.value)
    log = endpoints.logged("ep", "ValueError: boom happened")
    assert "loading" in log and "Traceback" in log

    worker, supervisor = endpoints.worker("ep"), endpoints.supervisor("ep")
    endpoints.service.delete("ep")
    assert endpoints.gone("ep") or endpoints.service.describe("ep").status == "Deleting"
    with pytest.raises(InvocationError, match="Endpoint ep of account 000000000000 not found"):
        endpoints.invoke("ep", "1")
    wait_for(lambda: endpoints.gone("ep"), "the end")
    assert not is_alive(worker) and not is_alive(supervisor)
    assert "loading" in endpoints.log("ep")
    left = endpoints.folder("ep").path
    # The record goes first: what goes on is known to who takes over in between.
    wait_for(lambda: [path.name for path in left.iterdir()] == ["logs"], "nothing but logs")
    endpoints.in_service("ep", endpoints.model(script()))
    assert len(endpoints.service.log_streams("ep")) == 2


def sneaky() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../etc/passwd"))
    return buffer.getvalue()


FAILURES: list[tuple[str, dict[str, bytes | str] | None, Mapping[str, str], str]] = [
    (
        "raises",
        script("def model_fn(d):\n    open(d + '/model.pth')\n"),
        {},
        "did not pass the ping health check: the worker failed in model_fn (inference.py, line 2,"
        " in model_fn): FileNotFoundError",
    ),
    ("exits", script("import sys\nsys.exit('no weights')\n"), {}, "ended itself with exit code"),
    ("is killed", script("import os\nos.kill(os.getpid(), 9)\n"), {}, "SIGKILL (signal 9)"),
    (
        "has no such program",
        script(),
        {"SAGEMAKER_PROGRAM": "infer.py"},
        "'infer.py' is not in the source: it holds inference.py",
    ),
    ("leads out", script(), {"SAGEMAKER_PROGRAM": "../../inference.py"}, "is no path inside"),
    ("pins", {**script(), "code/requirements.txt": "numpy==1.0\n"}, {}, "numpy==1.0"),
    (
        "has its code elsewhere",
        script(),
        {"SAGEMAKER_SUBMIT_DIRECTORY": "/root"},
        "SAGEMAKER_SUBMIT_DIRECTORY is '/root'",
    ),
    (
        "has no code in S3",
        script(),
        {"SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/no.tar.gz"},
        "Failed to download source",
    ),
]


def test_failures_say_why(endpoints: Endpoints) -> None:
    for number, (_, files, environment, _) in enumerate(FAILURES):
        endpoints.create(f"f{number}", endpoints.model(files, environment=environment))
    endpoints.create("nothing", endpoints.model(None, uri="s3://bucket/no/model.tar.gz"))
    endpoints.objects.put("bucket", "sneaky.tar.gz", sneaky())
    endpoints.create("sneaky", endpoints.model(None, uri="s3://bucket/sneaky.tar.gz"))
    for number, (name, _, _, said) in enumerate(FAILURES):
        record = endpoints.settled(f"f{number}")
        assert record.status == "Failed", name
        assert said in record.detail["failure_reason"], name
    failed = endpoints.settled("nothing").detail["failure_reason"]
    assert 'Failed to download model data for container "primary" from URL' in failed
    assert "leads out of the archive" in endpoints.settled("sneaky").detail["failure_reason"]
    with pytest.raises(InvocationError, match="has failed: The primary container"):
        endpoints.invoke("f0")
    # A failed endpoint holds no process, and can be forgotten.
    wait_for(lambda: not is_alive(endpoints.supervisor("f0")), "the supervisor's leave")
    endpoints.service.delete("f0")
    wait_for(lambda: endpoints.gone("f0"), "the end")


def test_a_worker_that_never_answers_is_given_up(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints.choose(monkeypatch, start_seconds=1.0)
    endpoints.create("slow", endpoints.model(script("import time\ntime.sleep(600)\n")))
    record = endpoints.settled("slow")
    assert "did not answer /ping within 1.0 s" in record.detail["failure_reason"]


def test_what_a_script_finds(endpoints: Endpoints) -> None:
    text = """
import json, os, sys
import numpy as np
np.float
def model_fn(model_dir): return model_dir
def input_fn(body, content_type): return body
def predict_fn(data, model):
    names = ("SAGEMAKER_PROGRAM", "MINE", "AWS_REGION", "HOUNDSIGHT_JOB_LEGACY", "PIP_CONSTRAINT")
    return {
        "model": model, "cwd": os.getcwd(), "there": sorted(os.listdir(model)),
        "body": type(data).__name__, **{name: os.environ.get(name) for name in names},
        "hard": os.path.exists("/opt/ml/model/code/serve.py"),
    }
def output_fn(prediction, accept): return json.dumps(prediction)
"""
    endpoints.objects.put("bucket", "source.tar.gz", _tar({"serve.py": text}))
    environment = {
        "SAGEMAKER_PROGRAM": "serve.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/source.tar.gz",
        "MINE": "yes",
    }
    old = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:1.8-cpu-py36"
    files = {"weights/a.bin": b"x", "code/requirements.txt": "torch==1.8\nnumpy\n"}
    endpoints.in_service("ep", endpoints.model(files, environment=environment, image=old))
    import json

    found = json.loads(endpoints.invoke("ep", b"\x00", content_type="image/jpeg").body)
    assert found["model"].endswith("/model") and Path(found["cwd"]).name == "model"
    assert found["there"] == ["code", "weights"]
    assert found["body"] == "bytearray"
    assert (found["SAGEMAKER_PROGRAM"], found["MINE"]) == ("serve.py", "yes")
    assert (found["AWS_REGION"], found["HOUNDSIGHT_JOB_LEGACY"]) == ("us-east-1", "1.8")
    assert found["PIP_CONSTRAINT"].startswith("file://")
    assert found["hard"] == (found["model"] == "/opt/ml/model")
    endpoints.logged("ep", "asks for PyTorch 1.8 (py36)")
    endpoints.logged("ep", "np.float")
    endpoints.logged("ep", "comes from this machine")


def _tar(files: Mapping[str, bytes | str]) -> bytes:
    from tests.jobs.endpoints.conftest import archive

    return archive(files)


def test_limits_of_a_request(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints.choose(monkeypatch, max_body_bytes=1000)
    text = "def model_fn(d): return 1\ndef transform_fn(m, b, t, a): return b'x' * int(b)\n"
    endpoints.in_service("ep", endpoints.model(script(text)))
    assert len(endpoints.invoke("ep", "1000").body) == 1000
    with pytest.raises(InvocationError, match="takes 1,000 at most") as refused:
        endpoints.invoke("ep", b"1" * 1001)
    assert (refused.value.code, refused.value.status) == ("ValidationError", 400)
    with pytest.raises(InvocationError, match="over 1,000 bytes") as too_long:
        endpoints.invoke("ep", "1001")
    assert too_long.value.code == "ModelError"


def test_a_request_whose_time_is_over_harms_only_itself(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints.choose(monkeypatch, answer_seconds=2.5)
    text = (
        "import time\ndef model_fn(d): return 1\n"
        "def transform_fn(m, b, t, a):\n    time.sleep(float(b))\n    return 'done'\n"
    )
    endpoints.in_service("ep", endpoints.model(script(text)))
    before = endpoints.worker("ep")
    began = time.monotonic()
    with pytest.raises(InvocationError, match="Your invocation timed out") as late:
        endpoints.invoke("ep", "600")
    assert time.monotonic() - began < 30
    assert (late.value.code, late.value.fields["OriginalStatusCode"]) == ("ModelError", 0)
    wait_for(lambda: not is_alive(before), "the end of the worker that was busy")
    wait_for(lambda: _answers(endpoints, "0"), "another worker")
    endpoints.logged("ep", "transform_fn did not answer within 2.5 s")


def _answers(endpoints: Endpoints, body: str) -> bool:
    try:
        return bool(endpoints.invoke("ep", body).body)
    except InvocationError:
        return False


def test_any_number_at_once(endpoints: Endpoints) -> None:
    names = [f"ep{number}" for number in range(5)]
    for name in names:
        endpoints.create(name, endpoints.model(script()))
    for name in names:
        assert endpoints.settled(name).status == "InService"
        assert endpoints.invoke(name, "3").body == b"6"


def test_deleted_while_it_is_created(endpoints: Endpoints) -> None:
    endpoints.create("ep", endpoints.model(script("import time\ntime.sleep(600)\n")))
    wait_for(lambda: list(endpoints.folder("ep").generations.glob("*/*/attempts/*")), "a start")
    endpoints.service.delete("ep")
    wait_for(lambda: endpoints.gone("ep"), "the end")
    assert not is_alive(endpoints.supervisor("ep")) if _has_supervisor(endpoints) else True


def _has_supervisor(endpoints: Endpoints) -> bool:
    return endpoints.folder("ep").supervisor.exists()


def test_unknown_endpoints(endpoints: Endpoints) -> None:
    with pytest.raises(InvocationError, match="Endpoint no of account 000000000000 not found"):
        endpoints.invoke("no", "1")
    assert endpoints.store.count(Kind.ENDPOINT) == {}
    assert endpoints.service.log_streams("no") == []
    assert endpoints.service.logs("no", "../../x").lines == []
