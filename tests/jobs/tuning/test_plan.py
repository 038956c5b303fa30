"""Requests of tuning jobs: ranges, limits, and what cannot be."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.jobs.request import BadRequestError
from houndsight.jobs.tuning.plan import plan_of
from houndsight.jobs.tuning.ranges import parameters_of, space_of, text_of
from houndsight.tuning.parameters import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
)

ARN = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/tuning"


def plan(request: dict[str, Any]) -> Any:
    return plan_of("tuning", ARN, request, created=1.0)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("Auto", "auto"),
        ("Linear", "linear"),
        ("Logarithmic", "logarithmic"),
        ("ReverseLogarithmic", "reverse_logarithmic"),
    ],
)
def test_scalings(sent: str, meant: str) -> None:
    row = {"Name": "momentum", "MinValue": "0.1", "MaxValue": "0.999", "ScalingType": sent}
    parameter = space_of({"ContinuousParameterRanges": [row]})["momentum"]
    assert parameter == ContinuousParameter(0.1, 0.999, meant)


def test_ranges_come_as_text_with_or_without_quotes_and_may_be_one_value() -> None:
    space = space_of(
        {
            "ContinuousParameterRanges": [{"Name": "lr", "MinValue": '"1e-4"', "MaxValue": "0.1"}],
            "IntegerParameterRanges": [
                {"Name": "epochs", "MinValue": "2", "MaxValue": "9"},
                {"Name": "layers", "MinValue": "3", "MaxValue": "3"},
            ],
            "CategoricalParameterRanges": [
                {"Name": "net", "Values": ['"resnet50"', "resnet18", '"resnet50"']}
            ],
        }
    )
    assert space["lr"] == ContinuousParameter(1e-4, 0.1)
    assert space["epochs"] == IntegerParameter(2, 9)
    assert space["layers"] == CategoricalParameter(["3"])
    assert space["net"] == CategoricalParameter(['"resnet50"', "resnet18"])


@pytest.mark.parametrize(
    ("hint", "parameter"),
    [
        ("32", IntegerParameter(3, 320, "logarithmic")),
        ("0.01", ContinuousParameter(0.001, 0.1, "logarithmic")),
        ('"adam"', CategoricalParameter(['"adam"'])),
        ("true", CategoricalParameter(["true"])),
    ],
)
def test_automatic_ranges_lie_around_their_hint(hint: str, parameter: Any) -> None:
    assert space_of({"AutoParameters": [{"Name": "p", "ValueHint": hint}]})["p"] == parameter


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    share=st.floats(0, 1),
    whole=st.integers(1, 10_000),
    word=st.text(max_size=10),
)
def test_values_come_back_from_hyperparameters_as_they_were(
    low: float, width: float, share: float, whole: int, word: str
) -> None:
    high = low + width
    if not low < high:
        return
    space = {
        "lr": ContinuousParameter(low, high, "linear"),
        "n": IntegerParameter(0, 10_000, "linear"),
        "word": CategoricalParameter([word, word + "x"]),
    }
    values = {"lr": min(high, low + share * width), "n": whole, "word": word}
    texts = {name: text_of(value) for name, value in values.items()}
    back = parameters_of(space, {**texts, "epochs": "2"})
    assert back == values and math.isfinite(back["lr"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "config", "most"),
    [
        ({"MaxNumberOfTrainingJobs": 7}, {}, 7),
        ({}, {}, 20),
        ({"MaxRuntimeInSeconds": 600}, {}, 750),
        ({}, {"TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.1}}, 750),
        ({}, {"Strategy": "Grid"}, 750),
    ],
)
def test_how_many_training_jobs_at_most(
    make_request: Any, limits: dict[str, Any], config: dict[str, Any], most: int
) -> None:
    request = make_request(**config)
    limits = {"MaxParallelTrainingJobs": 2, **limits}
    request["HyperParameterTuningJobConfig"]["ResourceLimits"] = limits
    assert plan(request).max_jobs == most


def test_the_objective_may_stand_in_the_definition(make_request: Any, make_definition: Any) -> None:
    objective = {"Type": "Maximize", "MetricName": "loss"}
    request = make_request()
    config = request["HyperParameterTuningJobConfig"]
    ranges = config.pop("ParameterRanges")
    del config["HyperParameterTuningJobObjective"]
    request["TrainingJobDefinition"] = make_definition(
        TuningObjective=objective, HyperParameterRanges=ranges
    )
    definition = plan(request).definitions[0]
    assert definition.direction.value == "maximize" and set(definition.space) == {
        "lr",
        "batch-size",
    }


def test_the_first_of_several_instance_types_is_taken(
    jobs: Any, tune: Any, make_request: Any, make_definition: Any, good_script: Any
) -> None:
    request = make_request(jobs=1)
    instances = [
        {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    ]
    request["TrainingJobDefinition"] = make_definition(
        HyperParameterTuningResourceConfig={
            "InstanceConfigs": instances,
            "AllocationStrategy": "Prioritized",
        },
        CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/"},
    )
    tune(request=request).run(good_script)
    spec = jobs.specs[jobs.created[0]]
    assert spec.instance_type == "ml.g4dn.xlarge"
    assert spec.checkpoint.s3_uri == f"s3://bucket/checkpoints/{spec.name}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("TrainingJobDefinition"), "either TrainingJobDefinition or"),
        (
            lambda r: r["TrainingJobDefinition"].update(StaticHyperParameters={"lr": "0.1"}),
            "lr cannot be both static and tuned",
        ),
        (
            lambda r: r["HyperParameterTuningJobConfig"].update(
                Strategy="Hyperband",
                StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 5, "MaxResource": 2}},
            ),
            "MaxResource is 2",
        ),
        (
            lambda r: r["HyperParameterTuningJobConfig"]["ParameterRanges"].update(
                IntegerParameterRanges=[{"Name": "lr", "MinValue": "1", "MaxValue": "2"}]
            ),
            "'lr' stands there twice",
        ),
        (
            lambda r: r["HyperParameterTuningJobConfig"]["ParameterRanges"].update(
                IntegerParameterRanges=[
                    {
                        "Name": "n",
                        "MinValue": "1",
                        "MaxValue": "9",
                        "ScalingType": "ReverseLogarithmic",
                    }
                ]
            ),
            "reverse_logarithmic",
        ),
        (
            lambda r: r["HyperParameterTuningJobConfig"]["ParameterRanges"].update(
                IntegerParameterRanges=[{"Name": "n", "MinValue": "0.5", "MaxValue": "9"}]
            ),
            "whole number",
        ),
        (
            lambda r: r["TrainingJobDefinition"]["AlgorithmSpecification"].update(
                MetricDefinitions=[{"Name": "loss", "Regex": "["}]
            ),
            "cannot be read",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    make_request: Any, change: Any, said: str
) -> None:
    request = make_request()
    change(request)
    with pytest.raises(BadRequestError) as caught:
        plan(request)
    assert said in str(caught.value)
