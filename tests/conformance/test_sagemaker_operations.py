"""Every operation of SageMaker that the SDKs use, driven by boto3, and the fields they read.

The rows are those of the table of flows in the reference of the API: what is asserted of a reply
is what some client reads of it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

pytest.importorskip("boto3")

from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_plane import ControlPlane, control_plane, wait_until

from houndsight.jobs.debugging.places import Places
from houndsight.jobs.states import Kind
from houndsight.jobs.status import JobState, RuleStatus

ACCOUNT = "arn:aws:sagemaker:us-east-1:000000000000"
ROLE = "arn:aws:iam::000000000000:role/houndsight"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.8-cpu-py36"
HELD = {"Environment": {"HOLD": "1"}}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="module")
def client(plane: ControlPlane) -> Any:
    return plane.client("sagemaker")


def training(name: str, **changes: Any) -> dict[str, Any]:
    """As SDK 2 sends it."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": r"Test Loss: ([0-9\.]+)"}],
            "EnableSageMakerMetricsTimeSeries": True,
        },
        "RoleArn": ROLE,
        "HyperParameters": {
            "lr": "0.01",
            "word": '"a b"',
            "sagemaker_program": '"hpo.py"',
            "sagemaker_submit_directory": '"s3://bucket/source/sourcedir.tar.gz"',
        },
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://bucket/dogs",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/"},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": "ml.m5.xlarge",
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
        **changes,
    }


def tuning(name: str, *, jobs: int = 3, parallel: int = 2, **changes: Any) -> dict[str, Any]:
    """As SDK 2 sends it."""
    job = training("unused")
    definition = {
        "StaticHyperParameters": {"epochs": "2", "sagemaker_program": '"hpo.py"'},
        "HyperParameterTuningResourceConfig": job["ResourceConfig"],
        **{
            key: job[key]
            for key in ("RoleArn", "InputDataConfig", "OutputDataConfig", "StoppingCondition")
        },
        "AlgorithmSpecification": {
            key: job["AlgorithmSpecification"][key]
            for key in ("TrainingImage", "TrainingInputMode", "MetricDefinitions")
        },
        **changes.pop("definition", {}),
    }
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": jobs,
                "MaxParallelTrainingJobs": parallel,
            },
            "TrainingJobEarlyStoppingType": "Off",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Auto"}
                ],
                "CategoricalParameterRanges": [
                    {"Name": "batch-size", "Values": ['"32"', '"64"', '"128"']}
                ],
                "IntegerParameterRanges": [],
            },
            **changes.pop("config", {}),
        },
        "TrainingJobDefinition": definition,
        **changes,
    }


def ended(client: Any, name: str) -> dict[str, Any]:
    def look() -> Any:
        reply = client.describe_training_job(TrainingJobName=name)
        return reply if reply["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return dict(wait_until(look))


def tuned(client: Any, name: str) -> dict[str, Any]:
    def look() -> Any:
        reply = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        moving = reply["HyperParameterTuningJobStatus"] in ("InProgress", "Stopping")
        return None if moving else reply

    return dict(wait_until(look))


def held(plane: ControlPlane, client: Any, name: str, **changes: Any) -> None:
    """Create a job and wait until it trains."""
    client.create_training_job(**training(name, **HELD, **changes))
    wait_until(
        lambda: client.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Training"
    )


def refused(call: Any, code: str, text: str, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    assert error["Code"] == code and text in error["Message"], error
    return str(error["Message"])


# -- training jobs ----------------------------------------------------------------------------


def test_create_and_describe_training_job(client: Any) -> None:
    arn = client.create_training_job(**training("whole"))["TrainingJobArn"]
    assert arn == f"{ACCOUNT}:training-job/whole"
    reply = ended(client, "whole")
    assert reply["TrainingJobStatus"] == reply["SecondaryStatus"] == "Completed"
    transitions = reply["SecondaryStatusTransitions"]
    assert [t["Status"] for t in transitions][-3:] == ["Training", "Uploading", "Completed"]
    assert all(t["StartTime"] and t["StatusMessage"] for t in transitions)
    assert all("EndTime" in t for t in transitions)
    assert reply["LastModifiedTime"] >= reply["CreationTime"]
    assert reply["TrainingTimeInSeconds"] >= 1 and reply["BillableTimeInSeconds"] >= 1
    assert reply["TrainingStartTime"] <= reply["TrainingEndTime"]
    assert reply["ModelArtifacts"]["S3ModelArtifacts"] == "s3://bucket/whole/output/model.tar.gz"
    final = reply["FinalMetricDataList"][0]
    assert final["MetricName"] == "loss" and final["Value"] == pytest.approx(0.01)
    assert final["Timestamp"]


def test_describe_training_job_has_what_attach_reads(client: Any) -> None:
    request = training("attached")
    del request["ResourceConfig"]["VolumeSizeInGB"], request["StoppingCondition"]
    client.create_training_job(**request | {"StoppingCondition": {}})
    reply = ended(client, "attached")
    assert reply["RoleArn"] == ROLE and reply["TrainingJobName"] == "attached"
    assert reply["ResourceConfig"]["InstanceCount"] == 1
    assert reply["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert reply["ResourceConfig"]["VolumeSizeInGB"] > 0
    assert reply["StoppingCondition"]["MaxRuntimeInSeconds"] == 86_400
    algorithm = reply["AlgorithmSpecification"]
    assert algorithm["TrainingInputMode"] == "File" and algorithm["TrainingImage"] == IMAGE
    assert algorithm["MetricDefinitions"][0]["Name"] == "loss"
    assert reply["OutputDataConfig"] == {
        "S3OutputPath": "s3://bucket/",
        "KmsKeyId": "",
        "CompressionType": "GZIP",
    }
    for value in reply["HyperParameters"].values():
        json.loads(value)
    assert reply["HyperParameters"]["word"] == '"a b"'
    assert reply["InputDataConfig"] == request["InputDataConfig"]
    assert reply["EnableNetworkIsolation"] is False
    assert reply["EnableInterContainerTrafficEncryption"] is False


def test_bare_hyperparameters_and_commands_of_sdk_3_arrive(
    plane: ControlPlane, client: Any
) -> None:
    request = training("third", HyperParameters={"lr": "0.5", "word": "a b"})
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": ["-c", "chmod +x /opt/ml/input/data/sm_drivers/sm_train.sh"],
    }
    client.create_training_job(**request)
    assert ended(client, "third")["HyperParameters"] == {"lr": "0.5", "word": "a b"}
    spec = plane.engine.specs["third"]
    assert spec.entrypoint == ("/bin/bash",) and spec.arguments[0] == "-c"
    assert spec.hyperparameters["word"] == "a b"


def test_a_request_becomes_a_specification(plane: ControlPlane, client: Any) -> None:
    channel = training("x")["InputDataConfig"][0]
    channel |= {"ChannelName": "train", "InputMode": "FastFile", "ContentType": "image/jpeg"}
    channel["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    checkpoint = {"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    resources = {"InstanceCount": 2, "InstanceType": "ml.p3.2xlarge", "VolumeSizeInGB": 1}
    client.create_training_job(
        **training(
            "specified",
            InputDataConfig=[channel],
            CheckpointConfig=checkpoint,
            ResourceConfig=resources,
            Environment={"A": "1"},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )
    )
    ended(client, "specified")
    spec = plane.engine.specs["specified"]
    assert spec.hosts == ("algo-1", "algo-2") and spec.max_runtime_s == 60
    assert spec.channels[0].input_mode == "FastFile"
    assert spec.channels[0].distribution == "ShardedByS3Key"
    assert spec.checkpoint is not None and spec.checkpoint.s3_uri == "s3://bucket/checkpoints"
    assert spec.environment == {"A": "1"} and spec.output_s3_uri == "s3://bucket/"


def test_a_failed_job_tells_why(plane: ControlPlane, client: Any) -> None:
    reason = 'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "KeyError: 3"'
    held(plane, client, "failing")
    plane.engine.end("failing", JobState.FAILED, failure_reason=reason + "x" * 2_000)
    reply = ended(client, "failing")
    assert reply["TrainingJobStatus"] == reply["SecondaryStatus"] == "Failed"
    assert reply["FailureReason"].startswith(reason) and len(reply["FailureReason"]) == 1_024
    assert reply["ModelArtifacts"]["S3ModelArtifacts"] == ""


def test_stop_training_job(plane: ControlPlane, client: Any) -> None:
    held(plane, client, "stopped")
    client.stop_training_job(TrainingJobName="stopped")
    assert ended(client, "stopped")["TrainingJobStatus"] == "Stopped"
    text = "The request was rejected because the training job is in status Stopped."
    refused(client.stop_training_job, "ValidationException", text, TrainingJobName="stopped")


def test_rules_have_statuses(plane: ControlPlane, client: Any) -> None:
    def rule(name: str) -> dict[str, Any]:
        return {
            "RuleConfigurationName": name,
            "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/rules:latest",
            "RuleParameters": {"rule_to_invoke": name},
        }

    held(
        plane,
        client,
        "ruled",
        DebugHookConfig={"S3OutputPath": "s3://bucket/"},
        DebugRuleConfigurations=[rule("VanishingGradient"), rule("Overfit")],
        ProfilerConfig={
            "S3OutputPath": "s3://bucket/",
            "ProfilingIntervalInMilliseconds": 500,
            "ProfilingParameters": {
                "DetailedProfilingConfig": '{"StartStep": 5, "NumSteps": 10, }'
            },
        },
        ProfilerRuleConfigurations=[rule("ProfilerReport")],
    )
    reply = client.describe_training_job(TrainingJobName="ruled")
    assert {r["RuleEvaluationStatus"] for r in reply["DebugRuleEvaluationStatuses"]} == {
        "InProgress"
    }
    assert reply["ProfilingStatus"] == "Enabled"
    assert '"NumSteps": 10, }' in str(reply["ProfilerConfig"]["ProfilingParameters"])
    found = RuleStatus("IssuesFound", "Gradients vanish in layer4", time.time())
    plane.engine.change("ruled", rules={"VanishingGradient": found})
    plane.engine.end("ruled")
    reply = ended(client, "ruled")
    by_name = {r["RuleConfigurationName"]: r for r in reply["DebugRuleEvaluationStatuses"]}
    vanishing = by_name["VanishingGradient"]
    assert vanishing["RuleEvaluationStatus"] == "IssuesFound"
    assert vanishing["StatusDetails"] == "Gradients vanish in layer4"
    assert vanishing["LastModifiedTime"]
    assert re.match(rf"{ACCOUNT}:processing-job/ruled-", vanishing["RuleEvaluationJobArn"])
    assert by_name["Overfit"]["RuleEvaluationStatus"] == "Error"
    profiler = reply["ProfilerRuleEvaluationStatuses"][0]
    assert profiler["RuleConfigurationName"] == "ProfilerReport"


def test_update_training_job_switches_the_profiler(plane: ControlPlane, client: Any) -> None:
    held(plane, client, "profiled", ProfilerConfig={"S3OutputPath": "s3://bucket/"})
    places = Places(plane.engine.folders["profiled"])
    places.root.mkdir(parents=True, exist_ok=True)
    client.update_training_job(TrainingJobName="profiled", ProfilerConfig={"DisableProfiler": True})
    reply = client.describe_training_job(TrainingJobName="profiled")
    assert reply["ProfilingStatus"] == "Disabled"
    written = json.loads(places.profiler_update.read_bytes())
    assert written == {"S3OutputPath": "s3://bucket/", "DisableProfiler": True}
    client.update_training_job(
        TrainingJobName="profiled",
        ProfilerConfig={"DisableProfiler": False, "ProfilingIntervalInMilliseconds": 1_000},
    )
    reply = client.describe_training_job(TrainingJobName="profiled")
    assert reply["ProfilingStatus"] == "Enabled"
    assert reply["ProfilerConfig"]["S3OutputPath"] == "s3://bucket/"
    plane.engine.end("profiled")
    ended(client, "profiled")
    refused(
        client.update_training_job,
        "ValidationException",
        "only a running one",
        TrainingJobName="profiled",
        ProfilerConfig={"DisableProfiler": True},
    )


def test_training_jobs_that_are_not_there_or_are_already(client: Any) -> None:
    for call in (client.describe_training_job, client.stop_training_job):
        refused(
            call, "ValidationException", "Requested resource not found.", TrainingJobName="none"
        )
    client.create_training_job(**training("twice"))
    refused(client.create_training_job, "ResourceInUse", "already exists", **training("twice"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"TrainingJobName": "../../etc"}, "TrainingJobName"),
        ({"TrainingJobName": "x" * 64}, "63"),
        (
            {"AlgorithmSpecification": {"AlgorithmName": "xgboost", "TrainingInputMode": "File"}},
            "TrainingImage",
        ),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "loss", "Regex": "("}],
                }
            },
            "regular expression '('",
        ),
        (
            {
                "InputDataConfig": [
                    {
                        "ChannelName": "train",
                        "DataSource": {
                            "FileSystemDataSource": {
                                "FileSystemId": "fs-12345678901",
                                "FileSystemAccessMode": "ro",
                                "FileSystemType": "EFS",
                                "DirectoryPath": "/",
                            }
                        },
                    }
                ]
            },
            "EFS and FSx",
        ),
        (
            {"InputDataConfig": [{**training("x")["InputDataConfig"][0], "ChannelName": ".."}]},
            "cannot be the name of a channel",
        ),
        ({"RoleArn": "arn:aws:iam::1:role/x-not-twelve-digits"}, "roleArn"),
    ],
)
def test_what_cannot_be_a_training_job_is_refused(
    client: Any, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ClientError) as caught:
        client.create_training_job(**{**training("refused"), **changes})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert text.lower() in caught.value.response["Error"]["Message"].lower()


def test_list_training_jobs(client: Any) -> None:
    for number in range(5):
        client.create_training_job(**training(f"listed-{number}"))
    ended(client, "listed-4")
    names, token = [], {}
    while True:
        page = client.list_training_jobs(
            NameContains="LISTED", MaxResults=2, SortBy="Name", SortOrder="Descending", **token
        )
        assert len(page["TrainingJobSummaries"]) <= 2
        names += [row["TrainingJobName"] for row in page["TrainingJobSummaries"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert names == [f"listed-{number}" for number in (4, 3, 2, 1, 0)]
    row = client.list_training_jobs(NameContains="listed-4")["TrainingJobSummaries"][0]
    assert row["TrainingJobArn"] == f"{ACCOUNT}:training-job/listed-4"
    assert row["TrainingJobStatus"] == "Completed" and row["CreationTime"]
    assert row["TrainingEndTime"] and row["LastModifiedTime"]
    assert not client.list_training_jobs(NameContains="listed", StatusEquals="Failed")[
        "TrainingJobSummaries"
    ]
    after = row["CreationTime"] + timedelta(milliseconds=1)
    later = client.list_training_jobs(CreationTimeAfter=after, NameContains="listed")
    assert not later["TrainingJobSummaries"]
    refused(client.list_training_jobs, "ValidationException", "token", NextToken="nonsense")


def test_delete_training_job(plane: ControlPlane, client: Any) -> None:
    held(plane, client, "deleted")
    refused(client.delete_training_job, "ValidationException", "stop it", TrainingJobName="deleted")
    plane.engine.end("deleted")
    ended(client, "deleted")
    client.delete_training_job(TrainingJobName="deleted")
    text = "Requested resource not found."
    refused(client.describe_training_job, "ValidationException", text, TrainingJobName="deleted")


# -- tuning jobs --------------------------------------------------------------------------------


def test_a_tuning_job_from_creation_to_analytics(client: Any) -> None:
    tags = [{"Key": "team", "Value": "dogs"}]
    arn = client.create_hyper_parameter_tuning_job(**tuning("search", Tags=tags))
    assert arn["HyperParameterTuningJobArn"] == f"{ACCOUNT}:hyper-parameter-tuning-job/search"
    reply = tuned(client, "search")
    assert reply["HyperParameterTuningJobStatus"] == "Completed"
    assert reply["TrainingJobStatusCounters"] == {
        "Completed": 3,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 0,
        "Stopped": 0,
    }
    assert reply["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 0}
    assert reply["HyperParameterTuningEndTime"] >= reply["CreationTime"]
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName="search", PaginationConfig={"PageSize": 2}
    )
    rows = [row for page in pages for row in page["TrainingJobSummaries"]]
    best = min(rows, key=lambda row: row["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
    assert reply["BestTrainingJob"]["TrainingJobName"] == best["TrainingJobName"]
    assert reply["BestTrainingJob"]["TuningJobName"] == "search"
    for number, row in enumerate(rows, 1):
        assert re.fullmatch(rf"search-{number:03d}-[0-9a-f]{{8}}", row["TrainingJobName"])
        assert row["TrainingJobStatus"] == "Completed" and row["ObjectiveStatus"] == "Succeeded"
        assert set(row["TunedHyperParameters"]) == {"lr", "batch-size"}
        assert row["TunedHyperParameters"]["batch-size"] in ('"32"', '"64"', '"128"')
        final = row["FinalHyperParameterTuningJobObjectiveMetric"]
        assert final["MetricName"] == "loss" and final["Type"] == "Minimize"
        assert final["Value"] == pytest.approx(float(row["TunedHyperParameters"]["lr"]))
        assert row["TrainingStartTime"] <= row["TrainingEndTime"] and row["CreationTime"]
    child = client.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert child["TuningJobArn"] == f"{ACCOUNT}:hyper-parameter-tuning-job/search"
    assert child["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert child["HyperParameters"]["epochs"] == "2"
    assert client.list_tags(ResourceArn=child["TrainingJobArn"])["Tags"] == tags
    ordered = client.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="search", SortBy="FinalObjectiveMetricValue", MaxResults=2
    )
    assert ordered["TrainingJobSummaries"][0]["TrainingJobName"] == best["TrainingJobName"]
    rest = client.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="search",
        SortBy="FinalObjectiveMetricValue",
        MaxResults=2,
        NextToken=ordered["NextToken"],
    )
    assert len(rest["TrainingJobSummaries"]) == 1 and "NextToken" not in rest


def test_describe_tuning_job_has_what_attach_reads(client: Any) -> None:
    client.create_hyper_parameter_tuning_job(**tuning("attach", jobs=1))
    reply = tuned(client, "attach")
    definition = reply["TrainingJobDefinition"]
    assert definition["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert definition["ResourceConfig"]["InstanceCount"] == 1
    assert definition["ResourceConfig"]["VolumeSizeInGB"] == 30
    assert definition["StaticHyperParameters"]["_tuning_objective_metric"] == "loss"
    assert definition["AlgorithmSpecification"]["MetricDefinitions"][0]["Name"] == "loss"
    assert definition["OutputDataConfig"]["KmsKeyId"] == ""
    config = reply["HyperParameterTuningJobConfig"]
    assert config["TrainingJobEarlyStoppingType"] == "Off" and config["Strategy"] == "Bayesian"
    assert config["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 1
    assert config["ParameterRanges"]["ContinuousParameterRanges"][0]["MinValue"] == "0.001"


def test_stop_tuning_job(plane: ControlPlane, client: Any) -> None:
    client.create_hyper_parameter_tuning_job(
        **tuning("stopping", jobs=9, parallel=2, definition=HELD)
    )
    wait_until(
        lambda: (
            client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="stopping")[
                "TrainingJobStatusCounters"
            ]["InProgress"]
            == 2
        )
    )
    name = {"HyperParameterTuningJobName": "stopping"}
    text = "stop it first"
    refused(client.delete_hyper_parameter_tuning_job, "ValidationException", text, **name)
    client.stop_hyper_parameter_tuning_job(**name)
    reply = tuned(client, "stopping")
    assert reply["HyperParameterTuningJobStatus"] == "Stopped"
    assert reply["TrainingJobStatusCounters"]["Stopped"] == 2
    text = "The request was rejected because the hyperparameter tuning job is in status Stopped."
    refused(client.stop_hyper_parameter_tuning_job, "ValidationException", text, **name)
    client.delete_hyper_parameter_tuning_job(**name)
    text = "Requested resource not found."
    refused(client.describe_hyper_parameter_tuning_job, "ValidationException", text, **name)
    assert not client.list_training_jobs(NameContains="stopping")["TrainingJobSummaries"]


def test_a_tuning_job_without_a_metric_says_why(client: Any) -> None:
    definitions = [{"Name": "loss", "Regex": "x"}, {"Name": "l", "Regex": "Test loss: ([0-9.]+)"}]
    request = tuning("blind", jobs=2)
    request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    request["HyperParameterTuningJobConfig"]["ParameterRanges"] = {
        "CategoricalParameterRanges": [{"Name": "lr", "Values": ["nan", "inf"]}]
    }
    client.create_hyper_parameter_tuning_job(**request)
    reply = tuned(client, "blind")
    assert reply["HyperParameterTuningJobStatus"] == "Failed"
    assert "No objective metrics found after running 2 training jobs" in reply["FailureReason"]
    assert "BestTrainingJob" not in reply


def test_several_estimators_in_one_tuning_job(client: Any) -> None:
    request = tuning("several", jobs=4)
    config, one = request["HyperParameterTuningJobConfig"], request.pop("TrainingJobDefinition")
    ranges, objective = (
        config.pop("ParameterRanges"),
        config.pop("HyperParameterTuningJobObjective"),
    )
    request["TrainingJobDefinitions"] = [
        {
            **one,
            "DefinitionName": name,
            "TuningObjective": objective,
            "HyperParameterRanges": ranges,
        }
        for name in ("small", "big")
    ]
    client.create_hyper_parameter_tuning_job(**request)
    reply = tuned(client, "several")
    assert reply["BestTrainingJob"]["TrainingJobDefinitionName"] in ("small", "big")
    assert [d["DefinitionName"] for d in reply["TrainingJobDefinitions"]] == ["small", "big"]
    assert all(
        d["StaticHyperParameters"]["_tuning_objective_metric"] == "loss"
        for d in reply["TrainingJobDefinitions"]
    )
    rows = client.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="several"
    )["TrainingJobSummaries"]
    assert sorted(row["TrainingJobDefinitionName"] for row in rows) == ["big"] * 2 + ["small"] * 2


def test_a_warm_start_knows_its_parents(client: Any) -> None:
    client.create_hyper_parameter_tuning_job(**tuning("parent", jobs=4))
    parent = tuned(client, "parent")
    warm = {
        "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
        "WarmStartType": "IdenticalDataAndAlgorithm",
    }
    request = tuning("warm", jobs=1, WarmStartConfig=warm)
    # The SDK's identical_dataset_and_algorithm_tuner leaves them out.
    del request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    client.create_hyper_parameter_tuning_job(**request)
    reply = tuned(client, "warm")
    assert reply["WarmStartConfig"] == warm
    values = {
        job["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]: job["TrainingJobName"]
        for job in (reply["BestTrainingJob"], parent["BestTrainingJob"])
    }
    assert reply["OverallBestTrainingJob"]["TrainingJobName"] == values[min(values)]
    warm["ParentHyperParameterTuningJobs"][0]["HyperParameterTuningJobName"] = "nobody"
    refused(
        client.create_hyper_parameter_tuning_job,
        "ValidationException",
        "'nobody'",
        **tuning("orphan", WarmStartConfig=warm),
    )


def test_list_tuning_jobs(client: Any) -> None:
    for name in ("many-b", "many-a"):
        client.create_hyper_parameter_tuning_job(**tuning(name, jobs=1))
        tuned(client, name)
    rows = client.list_hyper_parameter_tuning_jobs(NameContains="many")[
        "HyperParameterTuningJobSummaries"
    ]
    assert [row["HyperParameterTuningJobName"] for row in rows] == ["many-a", "many-b"]
    row = rows[0]
    assert row["HyperParameterTuningJobStatus"] == "Completed" and row["Strategy"] == "Bayesian"
    assert row["TrainingJobStatusCounters"]["Completed"] == 1
    assert row["ObjectiveStatusCounters"]["Succeeded"] == 1
    assert row["ResourceLimits"]["MaxParallelTrainingJobs"] == 2


def test_tuning_jobs_that_are_not_there_or_are_already(client: Any) -> None:
    name = {"HyperParameterTuningJobName": "none"}
    for call in (
        client.describe_hyper_parameter_tuning_job,
        client.stop_hyper_parameter_tuning_job,
        client.list_training_jobs_for_hyper_parameter_tuning_job,
    ):
        refused(call, "ValidationException", "Requested resource not found.", **name)
    client.create_hyper_parameter_tuning_job(**tuning("again", jobs=1))
    create = client.create_hyper_parameter_tuning_job
    refused(create, "ResourceInUse", "job_name", **tuning("again"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"HyperParameterTuningJobName": "x" * 33}, "32"),
        (
            {"config.HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "acc"}},
            "A metric is required for this hyperparameter tuning job objective.",
        ),
        ({"config.ParameterRanges": {}}, "no hyperparameter to tune"),
        (
            {
                "config.ParameterRanges": {
                    "ContinuousParameterRanges": [
                        {"Name": "lr", "MinValue": "1", "MaxValue": "0.1"}
                    ]
                }
            },
            "low must be below high",
        ),
        (
            {
                "config.ParameterRanges": {
                    "ContinuousParameterRanges": [
                        {"Name": "lr", "MinValue": "tiny", "MaxValue": "0.1"}
                    ]
                }
            },
            "'lr'",
        ),
        (
            {
                "config.ParameterRanges": {
                    "CategoricalParameterRanges": [{"Name": "epochs", "Values": ["1"]}]
                }
            },
            "both static and tuned",
        ),
        ({"config.Strategy": "Magic"}, "strategy"),
    ],
)
def test_what_cannot_be_a_tuning_job_is_refused(
    client: Any, change: dict[str, Any], text: str
) -> None:
    request = tuning("refused")
    for key, value in change.items():
        part, _, member = key.rpartition(".")
        (request["HyperParameterTuningJobConfig"] if part else request)[member] = value
    with pytest.raises(ClientError) as caught:
        client.create_hyper_parameter_tuning_job(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert text.lower() in caught.value.response["Error"]["Message"].lower()


# -- models, configurations, endpoints ----------------------------------------------------------


def model(name: str) -> dict[str, Any]:
    return {
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:1.8-cpu-py3",
            "Environment": {"SAGEMAKER_PROGRAM": "inference.py"},
            "ModelDataUrl": "s3://bucket/model.tar.gz",
        },
    }


def configuration(name: str, model_name: str) -> dict[str, Any]:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
        "InitialVariantWeight": 1,
    }
    return {"EndpointConfigName": name, "ProductionVariants": [variant]}


def test_models(client: Any) -> None:
    arn = client.create_model(**model("dog"), Tags=[{"Key": "a", "Value": "b"}])["ModelArn"]
    assert arn == f"{ACCOUNT}:model/dog"
    reply = client.describe_model(ModelName="dog")
    assert reply["ModelArn"] == arn and reply["ExecutionRoleArn"] == ROLE
    assert reply["PrimaryContainer"]["ModelDataUrl"] == "s3://bucket/model.tar.gz"
    assert reply["PrimaryContainer"]["Environment"]["SAGEMAKER_PROGRAM"] == "inference.py"
    assert reply["CreationTime"] and reply["EnableNetworkIsolation"] is False
    text = f'Cannot create already existing model "{arn}".'
    refused(client.create_model, "ValidationException", text, **model("dog"))
    rows = client.list_models(NameContains="dog")["Models"]
    assert [row["ModelName"] for row in rows] == ["dog"] and rows[0]["ModelArn"] == arn
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    client.delete_model(ModelName="dog")
    text = f'Could not find model "{arn}".'
    for call in (client.describe_model, client.delete_model):
        refused(call, "ValidationException", text, ModelName="dog")


def test_endpoint_configurations(client: Any) -> None:
    client.create_model(**model("configured"))
    arn = client.create_endpoint_config(**configuration("dogs", "configured"))["EndpointConfigArn"]
    assert arn == f"{ACCOUNT}:endpoint-config/dogs"
    reply = client.describe_endpoint_config(EndpointConfigName="dogs")
    assert reply["EndpointConfigArn"] == arn and reply["CreationTime"]
    assert reply["ProductionVariants"][0]["ModelName"] == "configured"
    assert reply["ProductionVariants"][0]["InitialVariantWeight"] == 1
    text = f'Cannot create already existing endpoint configuration "{arn}".'
    again = configuration("dogs", "configured")
    refused(client.create_endpoint_config, "ValidationException", text, **again)
    foreign = configuration("cats", "nobody")
    refused(client.create_endpoint_config, "ValidationException", "Could not find model", **foreign)
    rows = client.list_endpoint_configs(NameContains="dogs")["EndpointConfigs"]
    assert rows[0]["EndpointConfigName"] == "dogs" and rows[0]["EndpointConfigArn"] == arn
    client.delete_endpoint_config(EndpointConfigName="dogs")
    text = f'Could not find endpoint configuration "{arn}".'
    name = {"EndpointConfigName": "dogs"}
    refused(client.describe_endpoint_config, "ValidationException", text, **name)


def test_an_endpoint_from_creation_to_deletion(plane: ControlPlane, client: Any) -> None:
    client.create_model(**model("served"))
    client.create_endpoint_config(**configuration("first", "served"))
    client.create_endpoint_config(**configuration("second", "served"))
    name = {"EndpointName": "dogs"}
    arn = client.create_endpoint(
        **name, EndpointConfigName="first", Tags=[{"Key": "a", "Value": "b"}]
    )["EndpointArn"]
    assert arn == f"{ACCOUNT}:endpoint/dogs"
    assert plane.endpoints.models["served"]["PrimaryContainer"]["ModelDataUrl"]
    reply = client.describe_endpoint(**name)
    assert reply["EndpointStatus"] == "Creating" and reply["EndpointConfigName"] == "first"
    assert reply["EndpointArn"] == arn and "FailureReason" not in reply
    assert reply["LastModifiedTime"] >= reply["CreationTime"]
    plane.endpoints.move("dogs", "InService")
    reply = client.describe_endpoint(**name)
    assert reply["EndpointStatus"] == "InService"
    assert reply["ProductionVariants"][0]["VariantName"] == "AllTraffic"
    assert reply["ProductionVariants"][0]["CurrentWeight"] == 1
    text = f'Cannot create already existing endpoint "{arn}".'
    again = {**name, "EndpointConfigName": "first"}
    refused(client.create_endpoint, "ValidationException", text, **again)
    client.update_endpoint(**name, EndpointConfigName="second")
    assert client.describe_endpoint(**name)["EndpointStatus"] == "Updating"
    plane.endpoints.move("dogs", "InService")
    assert client.describe_endpoint(**name)["EndpointConfigName"] == "second"
    weights = [{"VariantName": "AllTraffic", "DesiredWeight": 0.5}]
    client.update_endpoint_weights_and_capacities(**name, DesiredWeightsAndCapacities=weights)
    assert client.describe_endpoint(**name)["ProductionVariants"][0]["DesiredWeight"] == 0.5
    plane.endpoints.move("dogs", "Failed", "The script has no model_fn")
    assert client.describe_endpoint(**name)["FailureReason"] == "The script has no model_fn"
    rows = client.list_endpoints(NameContains="dogs", StatusEquals="Failed")["Endpoints"]
    assert rows[0]["EndpointName"] == "dogs" and rows[0]["EndpointStatus"] == "Failed"
    client.delete_endpoint_config(EndpointConfigName="second")
    reply = client.delete_endpoint(**name)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200
    refused(client.describe_endpoint, "ValidationException", "Could not find endpoint", **name)


def test_endpoints_that_are_not_there(client: Any) -> None:
    text = f'Could not find endpoint "{ACCOUNT}:endpoint/none".'
    for call in (client.describe_endpoint, client.delete_endpoint):
        refused(call, "ValidationException", text, EndpointName="none")
    create = {"EndpointName": "none", "EndpointConfigName": "none"}
    text = "Could not find endpoint configuration"
    refused(client.create_endpoint, "ValidationException", text, **create)
    refused(client.update_endpoint, "ValidationException", "Could not find endpoint", **create)
    assert client.list_endpoints(NameContains="none")["Endpoints"] == []


# -- tags, and what is not there ----------------------------------------------------------------


def test_tags(client: Any) -> None:
    arn = client.create_training_job(
        **training("tagged", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    )["TrainingJobArn"]
    added = client.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "3"}])
    assert {"Key": "b", "Value": "3"} in added["Tags"]
    client.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "3"}]
    refused(client.list_tags, "ValidationException", "Could not find", ResourceArn=arn + "x")
    foreign = f"{ACCOUNT}:notebook-instance/mine"
    refused(client.list_tags, "ValidationException", "no ARN", ResourceArn=foreign)


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("search", {"Resource": "TrainingJob"}),
        ("list_trial_components", {}),
        ("create_processing_job", None),
        ("create_transform_job", None),
    ],
)
def test_what_is_not_implemented_says_so(
    plane: ControlPlane, operation: str, parameters: dict[str, Any] | None
) -> None:
    client = plane.client("sagemaker", validation=False)
    name = operation.title().replace("_", "")
    text = f"does not implement {name}"
    refused(getattr(client, operation), "NotImplementedException", text, **(parameters or {}))


# -- holding, and hostile requests --------------------------------------------------------------


def test_a_describe_is_held_for_a_client_that_polls_until_the_job_ends(
    plane: ControlPlane, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("houndsight.aws.sagemaker.holding.POLLING_FROM_S", 0.0)
    monkeypatch.setattr("houndsight.aws.sagemaker.training_jobs.YOUNG_HOLD_S", 30.0)
    client.create_training_job(**training("polled", **HELD))
    replies: list[dict[str, Any]] = []
    asking = threading.Thread(
        target=lambda: replies.append(client.describe_training_job(TrainingJobName="polled"))
    )
    asking.start()
    jobs = plane.platform.jobs
    wait_until(lambda: jobs.training_status("polled").state == JobState.TRAINING)
    plane.engine.end("polled")
    asking.join(timeout=20)
    assert replies and replies[0]["TrainingJobStatus"] == "Completed"


def test_a_person_who_describes_is_answered_at_once(plane: ControlPlane, client: Any) -> None:
    held(plane, client, "person")
    since = plane.platform.jobs.store.get(Kind.TRAINING_JOB, "person").modified
    for _ in range(20):
        reply = client.describe_training_job(TrainingJobName="person")
        assert reply["TrainingJobStatus"] == "InProgress"
    assert plane.platform.jobs.store.get(Kind.TRAINING_JOB, "person").modified == since
    plane.engine.end("person")


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    rows = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in rows:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _leaves(item, (*path, key))


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "../x", "\x00", "NaN", "1e999", "(" * 50, "é" * 300, "[" * 2_000]),
    st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)


@settings(max_examples=150)
@given(data=st.data())
@pytest.mark.parametrize("make", [training, tuning])
def test_a_damaged_request_never_becomes_an_error_of_the_server(
    plane: ControlPlane, make: Any, data: st.DataObject
) -> None:
    request = make(f"odd-{time.time_ns() % 10**12}")
    path = data.draw(st.sampled_from(sorted(_leaves(request), key=str)))
    place = request
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(ODD)
    client = plane.client("sagemaker", validation=False)
    call = (
        client.create_training_job
        if make is training
        else (client.create_hyper_parameter_tuning_job)
    )
    try:
        call(**request)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] < 500, error
    except (TypeError, ValueError, AttributeError, KeyError):
        return  # the client itself could not write it
