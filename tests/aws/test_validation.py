"""What breaks the model is refused, all of it in one message, as AWS words it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from houndsight.aws.models import load_model
from houndsight.aws.service import AwsError
from houndsight.aws.validation import compiled, validate

GOOD: dict[str, Any] = {
    "TrainingJobName": "a-job",
    "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::000000000000:role/houndsight",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/"},
    "ResourceConfig": {
        "InstanceType": "ml.m5.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 30,
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
}


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOUNDSIGHT_CACHE", str(tmp_path_factory.mktemp("models")))
        model = load_model("sagemaker", ["CreateTrainingJob", "AddTags"])
        yield model.operation_model("CreateTrainingJob").input_shape


def changed(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    if not rest:
        return {**GOOD, first: value}
    return {**GOOD, first: {**GOOD[first], rest: value}}


def test_a_request_of_the_sdk_passes(shape: Any) -> None:
    validate(shape, GOOD, code="ValidationException")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("TrainingJobName", "a_b", "'trainingJobName'.*pattern"),
        ("TrainingJobName", "-a", "pattern"),
        ("TrainingJobName", "a\n", "pattern"),
        ("TrainingJobName", "", "greater than or equal to 1"),
        ("TrainingJobName", "a" * 64, "length less than or equal to 63"),
        ("TrainingJobName", "../x", "pattern"),
        ("RoleArn", "role", "greater than or equal to 20"),
        ("AlgorithmSpecification.TrainingInputMode", "Paper", r"enum value set: \[FastFile, File"),
        ("ResourceConfig.InstanceCount", -1, "value greater than or equal to 0"),
        ("ResourceConfig.Wheels", 4, "Unknown parameter 'Wheels' in 'resourceConfig'"),
        ("Colour", "red", "Unknown parameter 'Colour'; there are"),
        ("HyperParameters", {"k" * 257: "v"}, "hyperParameters.key.*less than or equal to 256"),
        ("HyperParameters", {"k": "v" * 2501}, "less than or equal to 2500"),
        ("HyperParameters", {str(n): "" for n in range(101)}, "less than or equal to 100"),
        ("Tags", [{"Key": "", "Value": ""}], r"tags\.1\.member\.key"),
        ("Tags", [{"Key": "a*", "Value": ""}], "pattern"),
        ("OutputDataConfig.S3OutputPath", "bucket/key", "pattern"),
        ("StoppingCondition.MaxRuntimeInSeconds", 0, "greater than or equal to 1"),
    ],
)
def test_what_breaks_the_model_is_named(shape: Any, path: str, value: Any, said: str) -> None:
    with pytest.raises(AwsError, match=said) as caught:
        validate(shape, changed(path, value), code="ValidationException")
    assert caught.value.code == "ValidationException"
    assert len(caught.value.message) < 3000


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ResourceConfig.InstanceType", "ml.p99.huge"),
        ("Tags", [{"Key": "Straße 1/2:a=b+c-@", "Value": "日本\u3000語"}]),
        ("HyperParameters", {"lr": "0.1", "name": '"a b"', "empty": ""}),
        ("OutputDataConfig.KmsKeyId", ""),
    ],
)
def test_what_aws_takes_is_taken(shape: Any, path: str, value: Any) -> None:
    validate(shape, changed(path, value), code="ValidationException")


def test_everything_wrong_is_said_at_once(shape: Any) -> None:
    with pytest.raises(AwsError, match=r"^\d validation errors detected: ") as caught:
        validate(shape, {"TrainingJobName": "_"}, code="ValidationException")
    assert "Value null at 'roleArn' failed to satisfy constraint: Member must not be null" in (
        caught.value.message
    )


def test_patterns_of_java_are_read() -> None:
    tag = compiled(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)")
    assert tag is not None
    assert tag.fullmatch("äß 日本_1")
    assert not tag.fullmatch("a*b")
    name = compiled(r"arn:[\p{Alnum}\-]+:lambda")
    assert name is not None
    assert name.fullmatch("arn:aws-cn:lambda")
    assert compiled("(unclosed") is None
