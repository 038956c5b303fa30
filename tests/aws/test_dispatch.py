"""One port for every service: routing, refusals, and nothing that ends without a cause."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from houndsight.aws.app import make_app, services_of
from houndsight.aws.hosts import AllowedHosts
from houndsight.aws.service import AwsError, Call, Service, operation
from houndsight.errors import HoundsightError
from houndsight.jobs.layout import PlatformHome
from tests.aws.conftest import Plane, make_platform, serve
from tests.aws.shapes import anything

REFERENCE = {
    "sagemaker": """CreateTrainingJob DescribeTrainingJob StopTrainingJob ListTrainingJobs
        UpdateTrainingJob CreateHyperParameterTuningJob DescribeHyperParameterTuningJob
        StopHyperParameterTuningJob ListHyperParameterTuningJobs
        ListTrainingJobsForHyperParameterTuningJob CreateModel DescribeModel DeleteModel ListModels
        CreateEndpointConfig DescribeEndpointConfig DeleteEndpointConfig ListEndpointConfigs
        CreateEndpoint DescribeEndpoint DeleteEndpoint ListEndpoints UpdateEndpoint AddTags
        ListTags""",
    "sagemaker-runtime": "InvokeEndpoint",
    "logs": "DescribeLogStreams GetLogEvents FilterLogEvents",
    "cloudwatch": "GetMetricStatistics ListMetrics",
    "sts": "GetCallerIdentity",
    "iam": "GetRole SimulatePrincipalPolicy",
}


class Failing(Service):
    """Fails in every way a service can."""

    name = "sts"

    @operation("GetCallerIdentity")
    def fail(self, call: Call) -> Mapping[str, Any]:
        raise ZeroDivisionError("three times nothing")

    @operation("GetSessionToken")
    def refuse(self, call: Call) -> Mapping[str, Any]:
        raise HoundsightError("The disk is full. Make room.")

    @operation("GetFederationToken")
    def answer(self, call: Call) -> Mapping[str, Any]:
        return {"Credentials": {"Expiration": "never"}}


class Slow(Service):
    """Answers when it is let."""

    name = "sts"

    def __init__(self) -> None:
        self.begun, self.let = threading.Event(), threading.Event()

    @operation("GetCallerIdentity")
    def wait(self, call: Call) -> Mapping[str, Any]:
        self.begun.set()
        self.let.wait(60)
        return {}


@pytest.fixture(scope="module")
def failing_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    home = PlatformHome(tmp_path_factory.mktemp("failing") / "platform")
    yield from serve(make_platform(home), [Failing()])


@pytest.fixture(scope="module")
def open_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    home = PlatformHome(tmp_path_factory.mktemp("open") / "platform")
    yield from serve(make_platform(home), insecure=True)


def test_every_operation_of_the_reference_is_there(platform: Any) -> None:
    there = {service.name: set(service.operations()) for service in services_of(platform)}
    missing = {n: set(wanted.split()) - there.get(n, set()) for n, wanted in REFERENCE.items()}
    assert {name: operations for name, operations in missing.items() if operations} == {}


@pytest.mark.parametrize(
    ("service", "method", "named"),
    [
        ("sagemaker", "list_notebook_instances", "ListNotebookInstances"),
        ("logs", "describe_queries", "DescribeQueries"),
        ("cloudwatch", "describe_alarms", "DescribeAlarms"),
        ("iam", "list_users", "ListUsers"),
        ("sts", "get_session_token", "GetSessionToken"),
    ],
)
def test_what_is_not_implemented_is_named(
    shared_plane: Plane, service: str, method: str, named: str
) -> None:
    with pytest.raises(ClientError, match=f"Houndsight does not implement {named}") as caught:
        getattr(shared_plane.client(service), method)()
    assert caught.value.response["Error"]["Code"] == "NotImplementedException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


@pytest.mark.parametrize("service", ["ec2", "dynamodb", "lambda", "sqs"])
def test_a_service_that_is_not_spoken_is_named(shared_plane: Plane, service: str) -> None:
    client = shared_plane.client(service)
    call = {"ec2": "describe_instances", "lambda": "list_functions", "sqs": "list_queues"}
    with pytest.raises(ClientError, match=f"does not speak the service '{service}'"):
        getattr(client, call.get(service, "list_tables"))()


@pytest.mark.parametrize(
    ("service", "method", "parameters", "code"),
    [
        ("sagemaker", "list_models", {}, "InvalidSignatureException"),
        ("logs", "describe_log_groups", {}, "InvalidSignatureException"),
        ("cloudwatch", "list_metrics", {}, "InvalidSignatureException"),
        ("sts", "get_caller_identity", {}, "SignatureDoesNotMatch"),
        ("s3", "list_buckets", {}, "SignatureDoesNotMatch"),
        (
            "sagemaker-runtime",
            "invoke_endpoint",
            {"EndpointName": "a", "Body": b""},
            "InvalidSignatureException",
        ),
    ],
)
def test_a_wrong_secret_is_refused_by_every_service(
    shared_plane: Plane, service: str, method: str, parameters: dict[str, Any], code: str
) -> None:
    client = shared_plane.client(service, secret="w" * 40)
    with pytest.raises(ClientError) as caught:
        getattr(client, method)(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_nothing_is_answered_without_a_signature(shared_plane: Plane) -> None:
    for headers, body in [
        ({"x-amz-target": "SageMaker.ListModels"}, b"{}"),
        (
            {"content-type": "application/x-www-form-urlencoded"},
            b"Action=GetRole&Version=2010-05-08",
        ),
        ({}, b""),
    ]:
        status, _, answer = shared_plane.raw("POST", "/", body, headers)
        assert status in (403, 405), answer
    assert shared_plane.raw("GET", "/_houndsight/health")[0] == 200


def test_insecure_answers_everybody(open_plane: Plane) -> None:
    headers = {"x-amz-target": "SageMaker.ListModels"}
    assert json.loads(open_plane.raw("POST", "/", b"{}", headers)[2]) == {"Models": []}
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    assert b"assumed-role" in open_plane.raw("POST", "/", body, form)[2]
    assert open_plane.raw("GET", "/")[0] == 200  # S3's ListBuckets
    client = open_plane.client("sagemaker", access_key="anybody", secret="anything")
    assert client.list_models()["Models"] == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_an_unknown_host_is_refused(shared_plane: Plane, host: str) -> None:
    status, _, body = shared_plane.raw("GET", "/_houndsight/health", headers={"Host": host})
    assert status in (400, 403)
    assert b"Host" in body


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8765", True),
        ("LOCALHOST", True),
        ("bucket.localhost:8765", True),
        ("127.0.0.1:1", True),
        ("127.8.8.8", True),
        ("[::1]:8765", True),
        ("my.box", True),
        ("192.168.1.7", False),
        ("notlocalhost", False),
        ("localhost.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("127.0.0.1:80:80", False),
        ("127.0.0.1:port", False),
        ("[::1", False),
        ("0x7f.1", False),
        ("", False),
    ],
)
def test_hosts(host: str, known: bool) -> None:
    hosts = AllowedHosts(["My.Box"])
    if known:
        hosts.check(host)
        return
    with pytest.raises(AwsError, match="--allow-host"):
        hosts.check(host)


def test_addresses_are_known_where_others_reach_the_server() -> None:
    AllowedHosts(addresses=True).check("192.168.1.7:8765")


def test_what_fails_inside_is_told_with_its_cause(
    failing_plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    client = failing_plane.client("sts")
    with pytest.raises(ClientError, match="ZeroDivisionError: three times nothing") as caught:
        client.get_caller_identity()
    assert caught.value.response["Error"]["Code"] == "InternalFailure"
    request_id = caught.value.response["ResponseMetadata"]["RequestId"]
    assert any(request_id in record.message and record.exc_info for record in caplog.records)
    with pytest.raises(ClientError, match="Make room") as caught:
        client.get_session_token()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="InternalFailure"):
        client.get_federation_token(Name="ab")


def test_who_still_waits_when_the_platform_ends_is_told_so(tmp_path: Path) -> None:
    service, sent = Slow(), list[Any]()
    platform = make_platform(PlatformHome(tmp_path / "platform"))
    app = make_app(platform, [service], insecure=True)
    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    headers = {b"host": b"localhost", b"content-type": b"application/x-www-form-urlencoded"}
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": form}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        asked = asyncio.create_task(app({**scope, "headers": [*headers.items()]}, receive, send))
        await asyncio.to_thread(service.begun.wait, 60)
        asked.cancel()
        await asked

    asyncio.run(ask())
    service.let.set()
    assert sent[0]["status"] == 503
    assert b"The platform is being ended" in sent[1]["body"]
    platform.close()


def test_a_body_that_is_too_long_is_refused_before_it_is_read(shared_plane: Plane) -> None:
    with socket.create_connection(("127.0.0.1", shared_plane.port), timeout=20) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: SageMaker.ListModels\r\n"
            b"Content-Length: 99999999999\r\n\r\n"
        )
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 413
        assert b"8 MiB" in answer.read()


def test_metrics_are_answered_in_both_protocols(shared_plane: Plane) -> None:
    signed = sign(
        shared_plane,
        "monitoring",
        b"Action=ListMetrics&Version=2010-08-01&Dimensions.member.1.Name=TrainingJobName",
        {"content-type": "application/x-www-form-urlencoded"},
    )
    status, _, body = shared_plane.raw("POST", "/", *signed)
    assert status == 200
    assert b"<ListMetricsResult>" in body
    assert shared_plane.client("cloudwatch").list_metrics()["Metrics"] == []


def test_a_presigned_question_is_answered(shared_plane: Plane) -> None:
    client = shared_plane.client("sts")
    url = client.generate_presigned_url("get_caller_identity", HttpMethod="GET")
    status, _, body = shared_plane.raw("GET", url.removeprefix(shared_plane.address))
    assert status == 200
    assert b"assumed-role" in body


def sign(
    plane: Plane, service: str, body: bytes, headers: dict[str, str], path: str = "/"
) -> tuple[bytes, dict[str, str]]:
    key = plane.platform.keys.first()
    request = AWSRequest("POST", f"{plane.address}{path}", headers, body)
    SigV4Auth(Credentials(key.access_key, key.secret), service, "us-east-1").add_auth(request)
    return body, {name: str(value) for name, value in request.headers.items()}


MODELS = {name: boto3.Session().client(name, "us-east-1") for name in ("sagemaker", "logs")}
CASES = [
    (service, name)
    for service, operations in REFERENCE.items()
    if service in MODELS
    for name in operations.split()
]
OFTEN = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize(("service", "name"), CASES)
@OFTEN
@given(data=st.data())
def test_no_parameters_make_it_fail(
    open_plane: Plane, service: str, name: str, data: st.DataObject
) -> None:
    model = MODELS[service].meta.service_model
    shape = model.operation_model(name).input_shape
    body = json.dumps(data.draw(anything(shape)), default=str).encode()
    target = f"{model.metadata['targetPrefix']}.{name}"
    status, _, answer = open_plane.raw("POST", "/", body, {"x-amz-target": target})
    assert status in (200, 400) or (status == 501 and b"runs no endpoints" in answer), answer


BYTES = st.binary(max_size=200)
TARGETS = st.sampled_from(
    ["SageMaker.", ".", "", "SageMaker.CreateTrainingJob", "Logs_20140328.GetLogEvents",
     "GraniteServiceVersion20100801.GetMetricData", "DynamoDB_20120810.Query"]
)  # fmt: skip
KINDS = st.sampled_from(
    ["application/x-amz-json-1.1", "application/x-www-form-urlencoded", "text/xml", ""]
)
PATHS = st.sampled_from(
    ["/", "/endpoints/a/invocations", "/endpoints//invocations", "/endpoints/%2e%2e/invocations",
     "/endpoints/%ff/invocations", "/%00", "/..", "//", "/?Action=x", "/?X-Amz-Credential=%ff"]
)  # fmt: skip
# fmt: off
FORMS = st.lists(
    st.sampled_from(
        [
            "Action=GetRole",
            "Action=ListMetrics",
            "Action=",
            "Version=2010-08-01",
            "RoleName=a",
            "Version=2010-05-08",
            "Dimensions.member.1.Name=x",
            "Dimensions.member.1=y",
            "%ff=%ff",
            "Action.1=b",
            "=",
            "Dimensions.member.-1.Name=z",
            "MetricName",
        ]
    )
).map(lambda parts: "&".join(parts).encode())
# fmt: on


@settings(max_examples=300)
@given(
    body=BYTES | FORMS,
    target=st.none() | TARGETS,
    kind=KINDS,
    path=PATHS,
    method=st.sampled_from(["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"]),
)
def test_no_bytes_make_it_fail(
    open_plane: Plane, body: bytes, target: str | None, kind: str, path: str, method: str
) -> None:
    headers = {"content-type": kind, **({} if target is None else {"x-amz-target": target})}
    status, _, answer = open_plane.raw(method, path, body, headers)
    causes = (b"does not implement", b"does not speak", b"runs no endpoints")
    assert status < 500 or any(cause in answer for cause in causes), answer


@settings(max_examples=100)
@given(sent=st.binary(max_size=300) | st.just(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"))
def test_no_connection_makes_it_hang(open_plane: Plane, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", open_plane.port), timeout=20) as connection:
        connection.sendall(sent + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert open_plane.raw("GET", "/_houndsight/health")[0] == 200


def test_services_are_kept_apart_by_what_they_are_signed_for(shared_plane: Plane) -> None:
    target = {"x-amz-target": "Logs_20140328.DescribeLogGroups"}
    body, headers = sign(shared_plane, "sagemaker", b"{}", target)
    status, _, answer = shared_plane.raw("POST", "/", body, headers)
    assert status in (400, 404)
    assert b"UnknownOperation" in answer


def test_the_platform_home_stands_where_the_state_is(tmp_path: Path) -> None:
    platform = make_platform(PlatformHome(tmp_path / "a b"))
    assert platform.keys.first().secret
    platform.close()
