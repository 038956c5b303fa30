"""CloudWatch metrics over the metrics that jobs' logs told: statistics by period, and lists."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from houndsight.aws.platform import Platform
from houndsight.aws.protocol.values import epoch
from houndsight.aws.service import AwsError, Call, Service, operation
from houndsight.aws.tokens import read_token, token_of
from houndsight.jobs.states import Kind, NotFoundError

__all__ = ["NAMESPACE", "MonitoringService", "statistic"]

NAMESPACE = "/aws/sagemaker/TrainingJobs"
DIMENSION = "TrainingJobName"
MOST_POINTS = 1_440
"""In one answer of GetMetricStatistics; CloudWatch's own limit."""
MOST_DATA = 100_800
"""In one answer of GetMetricData."""
JOBS_A_PAGE = 100
_PERCENTILE = re.compile(r"p(100|\d{1,2}(\.\d{1,10})?)")
Point = tuple[float, float]
"""Epoch seconds and value."""


class MonitoringService(Service):
    """What clients read of CloudWatch: the metrics of training jobs."""

    name = "cloudwatch"

    def __init__(self, platform: Platform) -> None:
        self._jobs = platform.jobs

    @operation("GetMetricStatistics")
    def get_metric_statistics(self, call: Call) -> Mapping[str, Any]:
        """The points of a metric, gathered by period."""
        asked = call.parameters
        kinds = [*asked.get("Statistics", ()), *asked.get("ExtendedStatistics", ())]
        if not kinds:
            raise _invalid("At least one of Statistics and ExtendedStatistics is needed.")
        points = self._points(asked["Namespace"], asked["MetricName"], asked.get("Dimensions", ()))
        gathered = _gather(points, asked, asked["Period"], MOST_POINTS)
        rows = []
        for start, values in sorted(gathered.items()):
            row: dict[str, Any] = {"Timestamp": start, "Unit": "None"}
            row |= {kind: statistic(kind, values) for kind in asked.get("Statistics", ())}
            extended = asked.get("ExtendedStatistics")
            if extended:
                row["ExtendedStatistics"] = {kind: statistic(kind, values) for kind in extended}
            rows.append(row)
        return {"Label": asked["MetricName"], "Datapoints": rows}

    @operation("GetMetricData")
    def get_metric_data(self, call: Call) -> Mapping[str, Any]:
        """Several metrics at once."""
        asked = call.parameters
        newest_first = asked.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        results = []
        for query in asked["MetricDataQueries"]:
            gathered = self._queried(query, asked)
            if not query.get("ReturnData", True):
                continue
            times = sorted(gathered, reverse=newest_first)
            kind = query["MetricStat"]["Stat"]
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label", query["MetricStat"]["Metric"]["MetricName"]),
                    "Timestamps": times,
                    "Values": [statistic(kind, gathered[time]) for time in times],
                    "StatusCode": "Complete",
                }
            )
        return {"MetricDataResults": results, "Messages": []}

    @operation("ListMetrics")
    def list_metrics(self, call: Call) -> Mapping[str, Any]:
        """Which metrics which jobs have, some jobs at a time."""
        asked = call.parameters
        if asked.get("Namespace", NAMESPACE) != NAMESPACE:
            return {"Metrics": []}
        wanted = {d["Name"]: d.get("Value") for d in asked.get("Dimensions", ())}
        if wanted.keys() - {DIMENSION}:
            return {"Metrics": []}
        names, token = self._page_of_jobs(wanted.get(DIMENSION), asked.get("NextToken"))
        metrics = [
            {
                "Namespace": NAMESPACE,
                "MetricName": metric,
                "Dimensions": [{"Name": DIMENSION, "Value": job}],
            }
            for job in names
            for metric in dict.fromkeys(str(row["name"]) for row in self._rows(job))
            if asked.get("MetricName", metric) == metric
        ]
        return {"Metrics": metrics, **({"NextToken": token} if token else {})}

    def _page_of_jobs(self, only: str | None, token: str | None) -> tuple[list[str], str | None]:
        if only is not None:
            return [only], None
        place = read_token(token, "", code="InvalidParameterValue")
        page = self._jobs.store.list(Kind.TRAINING_JOB, limit=JOBS_A_PAGE, token=place or None)
        next_token = token_of(page.next_token) if page.next_token else None
        return [record.name for record in page.records], next_token

    def _queried(
        self, query: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> dict[float, list[float]]:
        wanted = query.get("MetricStat")
        if wanted is None:
            raise AwsError(
                "ValidationError", f"Query {query['Id']}: expressions are not computed here."
            )
        metric = wanted["Metric"]
        points = self._points(
            metric.get("Namespace", ""), metric.get("MetricName", ""), metric.get("Dimensions", ())
        )
        statistic(wanted["Stat"], [0.0])
        return _gather(points, asked, wanted["Period"], MOST_DATA)

    def _points(
        self, namespace: str, metric: str, dimensions: Iterable[Mapping[str, str]]
    ) -> list[Point]:
        named = {d["Name"]: d["Value"] for d in dimensions}
        if namespace != NAMESPACE or named.keys() != {DIMENSION}:
            return []
        return [
            (float(row["time"]), float(row["value"]))
            for row in self._rows(named[DIMENSION])
            # CloudWatch takes no others either, and what they sum up to is no number.
            if row["name"] == metric and math.isfinite(row["value"])
        ]

    def _rows(self, job: str) -> list[dict[str, Any]]:
        try:
            return list(self._jobs.metrics(job))
        except NotFoundError:
            return []


def statistic(kind: str, values: Sequence[float]) -> float:
    """`Average`, `Sum`, `Minimum`, `Maximum`, `SampleCount` or a percentile (`p90`).

    Raises:
        AwsError: there is no such statistic.
    """
    plain = {
        "Average": lambda: math.fsum(values) / len(values),
        "Sum": lambda: math.fsum(values),
        "Minimum": lambda: min(values),
        "Maximum": lambda: max(values),
        "SampleCount": lambda: float(len(values)),
    }
    if kind in plain:
        return plain[kind]()
    if not _PERCENTILE.fullmatch(kind):
        raise _invalid(f"The statistic {kind[:40]!r} is not computed here.")
    place = float(kind[1:]) / 100 * (len(values) - 1)
    ordered, low = sorted(values), math.floor(place)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _gather(
    points: Iterable[Point], asked: Mapping[str, Any], period: int, most: int
) -> dict[float, list[float]]:
    """Values by the start of their period; the start counts from a whole period on."""
    start, end = epoch(asked["StartTime"]), epoch(asked["EndTime"])
    if start >= end:
        raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
    if period not in (1, 5, 10, 30) and period % 60:
        raise _invalid("The parameter Period must be 1, 5, 10, 30 or a multiple of 60.")
    if (end - start) / period > most:
        raise AwsError(
            "InvalidParameterCombination",
            f"You have requested up to {math.ceil((end - start) / period):,} datapoints, which"
            f" exceeds the limit of {most:,}. You may reduce the datapoints requested by increasing"
            " Period, or decreasing the time range.",
        )
    start = start // period * period
    gathered: dict[float, list[float]] = {}
    for time, value in points:
        if start <= time < end:
            gathered.setdefault(time // period * period, []).append(value)
    return gathered


def _invalid(why: str) -> AwsError:
    return AwsError("InvalidParameterValue", why)
