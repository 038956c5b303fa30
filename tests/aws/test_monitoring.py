"""Metrics of jobs by period, and which there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from houndsight.aws.monitoring import NAMESPACE, statistic
from tests.aws.conftest import Plane, add_job, add_metrics

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


def row(name: str, value: float, after_s: float) -> dict[str, Any]:
    at = (START + timedelta(seconds=after_s)).timestamp()
    return {"name": name, "value": value, "time": at, "host": "algo-1"}


@pytest.fixture
def job(plane: Plane) -> str:
    add_job(plane.platform, "job", {})
    add_metrics(
        plane.platform,
        "job",
        [row("loss", 4.0, 10), row("loss", 2.0, 50), row("top-1", 0.5, 50), row("loss", 1.0, 130)],
    )
    return "job"


def asked(job: str, **changes: Any) -> dict[str, Any]:
    return {
        "Namespace": NAMESPACE,
        "MetricName": "loss",
        "Dimensions": [{"Name": "TrainingJobName", "Value": job}],
        "StartTime": START,
        "EndTime": START + timedelta(minutes=5),
        "Period": 60,
        "Statistics": ["Average"],
        **changes,
    }


def test_values_are_gathered_by_minute(plane: Plane, job: str) -> None:
    kinds = ["Average", "Minimum", "Maximum", "Sum", "SampleCount"]
    answer = plane.client("cloudwatch").get_metric_statistics(**asked(job, Statistics=kinds))
    points = sorted(answer["Datapoints"], key=lambda p: p["Timestamp"])
    assert [p["Timestamp"] for p in points] == [START, START + timedelta(minutes=2)]
    assert [points[0][kind] for kind in kinds] == [3.0, 2.0, 4.0, 6.0, 2.0]
    assert answer["Label"] == "loss"


def test_values_that_are_no_numbers_are_left_out(plane: Plane) -> None:
    values = (float("inf"), float("-inf"), float("nan"), 3.0)
    add_job(plane.platform, "diverged", {})
    rows = [row("loss", value, at) for at, value in enumerate(values)]
    add_metrics(plane.platform, "diverged", [{**r, "value": str(r["value"])} for r in rows])
    answer = plane.client("cloudwatch").get_metric_statistics(**asked("diverged"))
    assert [point["Average"] for point in answer["Datapoints"]] == [3.0]


def test_a_start_within_a_minute_counts_the_whole_minute(plane: Plane, job: str) -> None:
    answer = plane.client("cloudwatch").get_metric_statistics(
        **asked(job, StartTime=START + timedelta(seconds=30), EndTime=START + timedelta(seconds=51))
    )
    assert answer["Datapoints"][0]["Average"] == 3.0


@pytest.mark.parametrize(
    "changes",
    [
        {"MetricName": "other"},
        {"Namespace": "AWS/EC2"},
        {"Dimensions": []},
        {"Dimensions": [{"Name": "TrainingJobName", "Value": "other"}]},
        {"Dimensions": [{"Name": "Host", "Value": "job"}]},
    ],
)
def test_what_is_not_there_is_empty(plane: Plane, job: str, changes: dict[str, Any]) -> None:
    answer = plane.client("cloudwatch").get_metric_statistics(**asked(job, **changes))
    assert answer["Datapoints"] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"EndTime": START}, "StartTime must be less than"),
        ({"Period": 61}, "Period must be"),
        ({"EndTime": START + timedelta(days=2)}, "exceeds the limit of 1,440"),
        ({"Statistics": ["Median"]}, "enum value set"),
        ({"ExtendedStatistics": ["p101"]}, "'p101' is not computed"),
    ],
)
def test_what_cannot_be_answered_is_said(
    plane: Plane, job: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClientError, match=said):
        plane.client("cloudwatch").get_metric_statistics(**asked(job, **changes))


def test_metrics_are_listed_by_job_and_name(plane: Plane, job: str) -> None:
    add_job(plane.platform, "quiet", {})
    cloudwatch = plane.client("cloudwatch")
    found = {
        (metric["MetricName"], metric["Dimensions"][0]["Value"])
        for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
        for metric in page["Metrics"]
    }
    assert found == {("loss", "job"), ("top-1", "job")}
    one = cloudwatch.list_metrics(
        MetricName="loss", Dimensions=[{"Name": "TrainingJobName", "Value": "job"}]
    )
    assert len(one["Metrics"]) == 1
    assert cloudwatch.list_metrics(Namespace="AWS/EC2")["Metrics"] == []


def test_several_metrics_at_once(plane: Plane, job: str) -> None:
    def query(identifier: str, name: str, kind: str) -> dict[str, Any]:
        metric = {
            "Namespace": NAMESPACE,
            "MetricName": name,
            "Dimensions": [{"Name": "TrainingJobName", "Value": job}],
        }
        return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": 60, "Stat": kind}}

    cloudwatch = plane.client("cloudwatch")
    bounds = {"StartTime": START, "EndTime": START + timedelta(hours=1)}
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[query("a", "loss", "Average"), query("b", "top-1", "p50")],
        ScanBy="TimestampAscending",
        **bounds,
    )
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    assert values == {"a": [3.0, 1.0], "b": [0.5]}
    with pytest.raises(ClientError, match="expressions are not computed"):
        cloudwatch.get_metric_data(MetricDataQueries=[{"Id": "c", "Expression": "a + b"}], **bounds)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("p0", 1.0), ("p50", 2.5), ("p100", 4.0), ("p25.0", 1.75), ("Average", 2.5)],
)
def test_percentiles(kind: str, expected: float) -> None:
    assert statistic(kind, [4.0, 1.0, 3.0, 2.0]) == expected
