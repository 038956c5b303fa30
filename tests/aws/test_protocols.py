"""What botocore's clients write is read as meant, and what is answered they read as meant."""

from __future__ import annotations

import io
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.awsrequest import HeadersDict, prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from houndsight.aws import models as models_module
from houndsight.aws.models import load_model
from houndsight.aws.protocol import Incoming, JsonProtocol, Protocol, QueryProtocol
from houndsight.aws.protocol.rest_json import RestJsonProtocol
from houndsight.aws.service import AwsError
from tests.aws.shapes import valid

OPERATIONS = {
    "sagemaker": [
        "CreateTrainingJob",
        "DescribeTrainingJob",
        "CreateHyperParameterTuningJob",
        "ListTrainingJobs",
        "AddTags",
        "DescribeEndpoint",
    ],
    "logs": ["DescribeLogStreams", "GetLogEvents", "FilterLogEvents", "DescribeLogGroups"],
    "cloudwatch": ["GetMetricStatistics", "ListMetrics", "GetMetricData"],
    "sts": ["GetCallerIdentity"],
    "iam": ["GetRole", "SimulatePrincipalPolicy"],
    "sagemaker-runtime": ["InvokeEndpoint"],
}
SPOKEN: dict[str, dict[str, type[Protocol]]] = {
    "sagemaker": {"json": JsonProtocol},
    "logs": {"json": JsonProtocol},
    "cloudwatch": {"json": JsonProtocol, "query": QueryProtocol},
    "sts": {"query": QueryProtocol},
    "iam": {"query": QueryProtocol},
    "sagemaker-runtime": {"rest-json": RestJsonProtocol},
}
CASES = [
    (service, how, operation)
    for service, operations in OPERATIONS.items()
    for how in SPOKEN[service]
    for operation in operations
]
ROUGHLY = settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOUNDSIGHT_CACHE", str(tmp_path_factory.mktemp("models")))
        yield {name: load_model(name, operations) for name, operations in OPERATIONS.items()}


def written(how: str, operation: Any, parameters: dict[str, Any]) -> Incoming:
    """The request that botocore makes."""
    made = create_serializer(how, include_validation=False).serialize_to_request(
        parameters, operation
    )
    prepare_request_dict(made, "http://127.0.0.1", context={})
    body = made["body"]
    if isinstance(body, dict):
        body = urlencode(body).encode()
    parts = urlsplit(made["url"])
    return Incoming(
        method=made["method"],
        path=parts.path,
        query=parts.query,
        headers={name.lower(): str(value) for name, value in made["headers"].items()},
        body=body if isinstance(body, bytes) else body.encode(),
    )


def read_back(how: str, shape: Any, outgoing: Any, *, streamed: bool = False) -> dict[str, Any]:
    """What botocore makes of an answer."""
    answer: dict[str, Any] = create_parser(how).parse(
        {
            "status_code": outgoing.status,
            "headers": HeadersDict(outgoing.headers),
            "body": io.BytesIO(outgoing.body) if streamed else outgoing.body,
        },
        shape,
    )
    return answer


@pytest.mark.parametrize(("service", "how", "operation"), CASES)
@ROUGHLY
@given(data=st.data())
def test_requests(
    models: dict[str, Any], service: str, how: str, operation: str, data: st.DataObject
) -> None:
    model = models[service]
    described = model.operation_model(operation)
    ascii_only = st.sampled_from(string.ascii_letters + string.digits + "-")
    shape = described.input_shape
    text = ascii_only if how == "rest-json" else None
    sent = data.draw(valid(shape, text=text) if shape is not None else st.just({}))
    if how == "rest-json":
        sent["EndpointName"] = sent["EndpointName"] or "x"
    protocol = SPOKEN[service][how](model)
    incoming = written(how, described, sent)
    assert protocol.operation(incoming) == operation
    assert comparable(how, protocol.parse(described, incoming)) == comparable(how, sent)


@pytest.mark.parametrize(("service", "how", "operation"), CASES)
@ROUGHLY
@given(data=st.data())
def test_answers(
    models: dict[str, Any], service: str, how: str, operation: str, data: st.DataObject
) -> None:
    model = models[service]
    described = model.operation_model(operation)
    shape = described.output_shape
    text = st.sampled_from(string.ascii_letters) if how == "rest-json" else None
    response = data.draw(valid(shape, text=text))
    protocol = SPOKEN[service][how](model)
    outgoing = protocol.answer(described, response, "request-1")
    parsed = read_back(how, shape, outgoing, streamed=how == "rest-json")
    assert parsed.pop("ResponseMetadata")["RequestId"] == "request-1"
    if how == "rest-json":
        parsed["Body"] = parsed["Body"].read()
        response.setdefault("Body", b"")
        response.setdefault("ContentType", "application/json")
    assert comparable(how, parsed) == comparable(how, response)


def comparable(how: str, value: Any) -> Any:
    """Without what a protocol cannot tell apart: in forms and XML, nothing and an empty thing."""
    if isinstance(value, dict):
        inner = {name: comparable(how, item) for name, item in value.items()}
        if how == "json":
            return inner
        return {name: item for name, item in inner.items() if item not in ({}, [], "", None)}
    if isinstance(value, list):
        items = [comparable(how, item) for item in value]
        return items if how == "json" else [item for item in items if item not in ({}, [])]
    if isinstance(value, float):
        return pytest.approx(value)
    return value


@pytest.mark.parametrize(("service", "how", "operation"), CASES)
def test_errors(models: dict[str, Any], service: str, how: str, operation: str) -> None:
    model = models[service]
    described = model.operation_model(operation)
    protocol = SPOKEN[service][how](model)
    error = AwsError("AnyError", 'Some "text" <&> ä €', status=418)
    parsed = read_back(how, described.output_shape, protocol.error(error, "request-1", described))
    assert parsed["Error"]["Code"] == "AnyError"
    assert parsed["Error"]["Message"] == 'Some "text" <&> ä €'
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == 418
    assert parsed["ResponseMetadata"]["RequestId"] == "request-1"


def test_an_error_of_the_model_carries_its_fields(models: dict[str, Any]) -> None:
    model = models["sagemaker-runtime"]
    described = model.operation_model("InvokeEndpoint")
    fields = {"OriginalStatusCode": 500, "OriginalMessage": "boom", "LogStreamArn": "arn"}
    error = AwsError("ModelError", "The model failed.", fields=fields)
    outgoing = RestJsonProtocol(model).error(error, "request-1", described)
    assert outgoing.status == 424
    shape = next(s for s in described.error_shapes if s.name == "ModelError")
    told = read_back("rest-json", described.output_shape, outgoing)["Error"]
    assert told == {"Code": "ModelError", "Message": "The model failed."}
    parsed = read_back("rest-json", shape, outgoing)
    assert {name: parsed[name] for name in fields} == fields


def test_cloudwatch_tells_the_old_code_beside_the_new(models: dict[str, Any]) -> None:
    model = models["cloudwatch"]
    described = model.operation_model("GetMetricStatistics")
    error = AwsError("InvalidParameterValue", "No.")
    outgoing = JsonProtocol(model).error(error, "request-1", described)
    assert b'"__type":"InvalidParameterValueException"' in outgoing.body
    parsed = read_back("json", described.output_shape, outgoing)
    assert parsed["Error"]["Code"] == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "must be a JSON object"),
        (b"{", "is no JSON"),
        (b"\xff", "is no JSON"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "is nested too deep|is no JSON"),
        (b'{"TrainingJobName": 1}', "TrainingJobName must be a string, not 1"),
        (b'{"TrainingJobName": "\\ud800"}', "holds half a surrogate pair"),
        (b'{"TrainingJobName": "\\u0000"}', "holds a NUL"),
        (b'{"ResourceConfig": {"InstanceCount": 1.5}}', "ResourceConfig.InstanceCount must be a"),
        (b'{"ResourceConfig": {"InstanceCount": true}}', "must be a whole number, not True"),
        (b'{"ResourceConfig": {"InstanceCount": 9999999999}}', "does not fit into 32 bits"),
        (b'{"ResourceConfig": []}', "ResourceConfig must be an object"),
        (b'{"Tags": {}}', "Tags must be a list"),
        (b'{"Tags": [null]}', r"Tags\[0\] must be an object"),
        (b'{"HyperParameters": {"a": 1}}', "HyperParameters.a must be a string"),
        (b'{"EnableNetworkIsolation": "true"}', "must be true or false"),
        (b'{"ResourceConfig": {"InstanceCount": ' + b"9" * 5000 + b"}}", "is no JSON|does not fit"),
    ],
)
def test_a_body_that_is_no_such_message_is_named(
    models: dict[str, Any], body: bytes, said: str
) -> None:
    model = models["sagemaker"]
    described = model.operation_model("CreateTrainingJob")
    with pytest.raises(AwsError, match=said) as caught:
        JsonProtocol(model).parse(described, Incoming(method="POST", path="/", body=body))
    assert caught.value.code == "SerializationException"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("Dimensions.member.x.Name=a", "must be numbered"),
        ("Dimensions=a", "must be a structure"),
        ("MetricName=a&MetricName.b=c", "as a value and as a structure"),
        ("MetricName.b=c", "must be a single value"),
        ("Period=ten", "must be a number"),
        ("StartTime=yesterday", "must be a time"),
        ("a" + ".b" * 40 + "=1", "nested too deep"),
        ("&".join(f"a{n}=1" for n in range(10_001)), "cannot be read"),
        ("MetricName=%ff", "cannot be read"),
    ],
)
def test_a_form_that_is_no_such_message_is_named(
    models: dict[str, Any], form: str, said: str
) -> None:
    model = models["cloudwatch"]
    described = model.operation_model("GetMetricStatistics")
    with pytest.raises(AwsError, match=said):
        QueryProtocol(model).parse(described, Incoming(method="POST", path="/", body=form.encode()))


def test_what_xml_cannot_hold_is_replaced(models: dict[str, Any]) -> None:
    model = models["iam"]
    described = model.operation_model("GetRole")
    role = {"RoleName": "a\x00b\ud800c]]>\r", "Path": "/", "RoleId": "x", "Arn": "y"}
    outgoing = QueryProtocol(model).answer(described, {"Role": role}, "request-1")
    parsed = read_back("query", described.output_shape, outgoing)
    assert parsed["Role"]["RoleName"] == "a\ufffdb\ufffdc]]>\r"


def test_the_model_is_cut_to_what_is_needed_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HOUNDSIGHT_CACHE", str(tmp_path))
    first = models_module._description("sagemaker", frozenset(["DescribeModel"]))
    kept = list((tmp_path / "aws-models").iterdir())
    assert len(kept) == 1
    assert kept[0].stat().st_size < 200_000
    monkeypatch.setattr("houndsight.aws.models._whole", lambda service: pytest.fail("read again"))
    again = models_module._description("sagemaker", frozenset(["DescribeModel"]))
    assert again == first
    assert "CreateNotebookInstance" in again["operations"]
    assert "DescribeModelOutput" in again["shapes"]
    assert "CreateNotebookInstanceInput" not in again["shapes"]


def test_a_damaged_copy_of_the_model_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HOUNDSIGHT_CACHE", str(tmp_path))
    first = models_module._description("sts", frozenset(["GetCallerIdentity"]))
    kept = next((tmp_path / "aws-models").iterdir())
    kept.write_bytes(kept.read_bytes()[:100])
    assert models_module._description("sts", frozenset(["GetCallerIdentity"])) == first
    assert len(kept.read_bytes()) > 100
