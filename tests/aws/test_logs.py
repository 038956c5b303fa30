"""Reading jobs' logs as CloudWatch lets one: pages, times, searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from houndsight.aws.filter_patterns import read_pattern
from houndsight.aws.log_streams import LogSource, LogStream, StreamReader
from houndsight.aws.service import AwsError
from houndsight.jobs.engine import LogLine, LogPage
from tests.aws.conftest import Plane, add_job, write_log

GROUP = "/aws/sagemaker/TrainingJobs"
START = 1_700_000_000


def lines(count: int, *, step_ms: int = 10) -> list[tuple[int, str]]:
    return [(START * 1000 + n * step_ms, f"line {n}") for n in range(count)]


@pytest.fixture
def job(plane: Plane) -> str:
    """A job with 25 lines; its stream's name."""
    add_job(plane.platform, "job", {"algo-1": lines(25)}, created=float(START))
    return f"job/algo-1-{START}"


def messages(answer: Any) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_there_is_no_group_before_there_is_a_job(plane: Plane) -> None:
    logs = plane.client("logs")
    assert logs.describe_log_groups()["logGroups"] == []
    for call in (
        lambda: logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="job/"),
        lambda: logs.get_log_events(logGroupName=GROUP, logStreamName="a"),
        lambda: logs.filter_log_events(logGroupName="/aws/sagemaker/Endpoints/none"),
    ):
        with pytest.raises(ClientError, match="The specified log group does not exist") as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    add_job(plane.platform, "job", {})
    assert (
        logs.describe_log_groups(logGroupNamePrefix="/aws/sage")["logGroups"][0]["logGroupName"]
        == GROUP
    )
    assert logs.describe_log_streams(logGroupName=GROUP)["logStreams"] == []
    with pytest.raises(ClientError, match="The specified log stream does not exist"):
        logs.get_log_events(logGroupName=GROUP, logStreamName="job/algo-1-1")


def test_streams_are_named_after_job_host_and_time(plane: Plane, job: str) -> None:
    add_job(plane.platform, "job-two", {"algo-1": lines(1), "algo-2": []}, created=START + 1.5)
    logs = plane.client("logs")
    rows = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="job/")["logStreams"]
    assert [row["logStreamName"] for row in rows] == [job]
    assert rows[0]["firstEventTimestamp"] == START * 1000
    every = [f"job-two/algo-1-{START + 1}", f"job-two/algo-2-{START + 1}", job]
    assert [
        row["logStreamName"] for row in logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    ] == every
    found = []
    for page in logs.get_paginator("describe_log_streams").paginate(
        logGroupName=GROUP, descending=True, PaginationConfig={"PageSize": 1}
    ):
        assert len(page["logStreams"]) == 1
        found += [row["logStreamName"] for row in page["logStreams"]]
    assert found == every[::-1]
    by_time = logs.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime")["logStreams"]
    assert {row["logStreamName"] for row in by_time} == set(every)
    with pytest.raises(ClientError, match="Cannot order by LastEventTime"):
        logs.describe_log_streams(
            logGroupName=GROUP, orderBy="LastEventTime", logStreamNamePrefix="job"
        )


def test_exactly_as_many_streams_as_asked_for_have_no_next_page(plane: Plane, job: str) -> None:
    """The SDK asks for the first page again and again as long as there is a token."""
    answer = plane.client("logs").describe_log_streams(
        logGroupName=GROUP, logStreamNamePrefix="job/", orderBy="LogStreamName", limit=1
    )
    assert "nextToken" not in answer


def test_pages_lead_to_the_end_and_stay_there(plane: Plane, job: str) -> None:
    logs = plane.client("logs")
    asked: dict[str, Any] = {"logGroupName": GROUP, "logStreamName": job, "limit": 10}
    page = logs.get_log_events(**asked, startFromHead=True)
    assert messages(page) == [f"line {n}" for n in range(10)]
    assert page["events"][3]["timestamp"] == START * 1000 + 30
    seen = messages(page)
    while page["events"]:
        page = logs.get_log_events(**asked, nextToken=page["nextForwardToken"])
        seen += messages(page)
    assert seen == [f"line {n}" for n in range(25)]
    again = logs.get_log_events(**asked, nextToken=page["nextForwardToken"])
    assert again["events"] == []
    assert again["nextForwardToken"] == page["nextForwardToken"]
    host = plane.platform.home.training_job("job").host("algo-1")
    write_log(host, [(START * 1000 + 999, "one more")])
    assert messages(logs.get_log_events(**asked, nextToken=page["nextForwardToken"])) == [
        "one more"
    ]


def test_pages_lead_back_to_the_beginning(plane: Plane, job: str) -> None:
    logs = plane.client("logs")
    asked: dict[str, Any] = {"logGroupName": GROUP, "logStreamName": job, "limit": 10}
    page = logs.get_log_events(**asked)
    assert messages(page) == [f"line {n}" for n in range(15, 25)]
    assert logs.get_log_events(**asked, nextToken=page["nextForwardToken"])["events"] == []
    seen = messages(page)
    while page["events"]:
        page = logs.get_log_events(**asked, nextToken=page["nextBackwardToken"])
        seen = messages(page) + seen
    assert seen == [f"line {n}" for n in range(25)]
    again = logs.get_log_events(**asked, nextToken=page["nextBackwardToken"])
    assert again["nextBackwardToken"] == page["nextBackwardToken"]
    forward = logs.get_log_events(**asked, nextToken=page["nextForwardToken"])
    assert messages(forward) == [f"line {n}" for n in range(10)]


def test_times_bound_what_is_read(plane: Plane, job: str) -> None:
    logs = plane.client("logs")
    asked: dict[str, Any] = {"logGroupName": GROUP, "logStreamName": job}
    start, end = START * 1000 + 50, START * 1000 + 80
    for head in (True, False):
        page = logs.get_log_events(**asked, startTime=start, endTime=end, startFromHead=head)
        assert messages(page) == ["line 5", "line 6", "line 7"]
    last = logs.get_log_events(**asked, startTime=START * 1000 + 240, startFromHead=True)
    assert messages(last) == ["line 24"]
    after = logs.get_log_events(**asked, startTime=START * 1000 + 241, startFromHead=True)
    assert after["events"] == []


def test_a_foreign_token_is_refused(plane: Plane, job: str) -> None:
    logs = plane.client("logs")
    for token in ("x", "f/1", "f/-1/s", "f/99999999999999999999999/s"):
        with pytest.raises(ClientError, match="nextToken is invalid"):
            logs.get_log_events(logGroupName=GROUP, logStreamName=job, nextToken=token)
        with pytest.raises(ClientError, match="nextToken is invalid"):
            logs.filter_log_events(logGroupName=GROUP, nextToken=token)
        with pytest.raises(ClientError, match="nextToken is invalid"):
            logs.describe_log_streams(logGroupName=GROUP, nextToken=token)


def test_a_search_goes_through_streams_in_the_order_of_time(plane: Plane) -> None:
    even = [(START * 1000 + n, f"even {n}") for n in range(0, 40, 2)]
    odd = [(START * 1000 + n, f"odd {n}") for n in range(1, 40, 2)]
    add_job(plane.platform, "pair", {"algo-1": even, "algo-2": odd}, created=float(START))
    add_job(plane.platform, "other", {"algo-1": lines(3)}, created=float(START))
    logs = plane.client("logs")
    asked = {"logGroupName": GROUP, "logStreamNamePrefix": "pair/"}
    every = logs.filter_log_events(**asked)["events"]
    assert [e["timestamp"] - START * 1000 for e in every] == list(range(40))
    assert every[1]["logStreamName"] == f"pair/algo-2-{START}"
    assert len({event["eventId"] for event in every}) == 40
    paged = [
        event["message"]
        for page in logs.get_paginator("filter_log_events").paginate(
            **asked, filterPattern="odd", PaginationConfig={"PageSize": 3}
        )
        for event in page["events"]
    ]
    assert paged == [text for _, text in odd]
    bounded = logs.filter_log_events(
        **asked, startTime=START * 1000 + 10, endTime=START * 1000 + 12
    )
    assert messages(bounded) == ["even 10", "odd 11"]
    named = logs.filter_log_events(
        logGroupName=GROUP, logStreamNames=[f"pair/algo-2-{START}"], limit=2
    )
    assert messages(named) == ["odd 1", "odd 3"]
    with pytest.raises(ClientError, match="The specified log stream does not exist"):
        logs.filter_log_events(logGroupName=GROUP, logStreamNames=["pair/algo-9-1"])


def test_names_never_become_paths(plane: Plane, job: str) -> None:
    logs = plane.client("logs")
    for name in ("../job/algo-1-1", "job/../algo-1", "//", "/etc/passwd"):
        with pytest.raises(ClientError, match="does not exist"):
            logs.get_log_events(logGroupName=GROUP, logStreamName=name)
        with pytest.raises(ClientError, match="does not exist"):
            logs.filter_log_events(logGroupName=f"/aws/sagemaker/Endpoints/{name[:8]}")


def test_the_logs_of_an_endpoint_outlive_it(plane: Plane) -> None:
    host = plane.platform.home.endpoint("dogs").stream("AllTraffic", "i-0123456789abcdef0")
    write_log(host, [(START * 1000, "model loaded"), (START * 1000 + 1, "ready")])
    logs = plane.client("logs")
    group = "/aws/sagemaker/Endpoints/dogs"
    assert logs.describe_log_groups()["logGroups"][0]["logGroupName"] == group
    found = logs.filter_log_events(logGroupName=group, logStreamNamePrefix="AllTraffic/")
    assert messages(found) == ["model loaded", "ready"]


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR disk", "disk ERROR", True),
        ("ERROR disk", "ERROR", False),
        ('"no space"', "there is no space left", True),
        ('"no space"', "no more space", False),
        (r'"a \"b\""', 'say a "b"', True),
        ("?ERROR ?WARN", "WARN", True),
        ("?ERROR ?WARN", "INFO", False),
        ("ERROR -disk", "ERROR disk", False),
        ("-disk", "anything", True),
        ('-"disk full"', "the disk full", False),
    ],
)
def test_filter_patterns(pattern: str, message: str, matches: bool) -> None:
    assert read_pattern(pattern)(message) is matches


@pytest.mark.parametrize("pattern", ["{ $.a = 1 }", "[a, b]", "%a.b%", 'un"closed', '"', 'a"b"c'])
def test_patterns_that_are_not_read_are_refused(pattern: str) -> None:
    with pytest.raises(AwsError):
        read_pattern(pattern)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_pattern_breaks_it(pattern: str, message: str) -> None:
    try:
        read_pattern(pattern)(message)
    except AwsError as error:
        assert error.code == "InvalidParameterException"


class Counting(LogSource):
    """Lines of ten bytes, a millisecond apart, and how many pages were read."""

    def __init__(self, count: int) -> None:
        self.count, self.reads = count, 0

    def groups(self) -> Sequence[tuple[str, int]]:
        return [("g", 0)]

    def streams(self, group: str, prefix: str) -> list[LogStream] | None:
        return [STREAM]

    def read(self, group: str, stream: LogStream, offset: int, limit: int) -> LogPage:
        self.reads += 1
        first = offset // 10
        found = [LogLine(n, str(n), n * 10) for n in range(first, min(first + limit, self.count))]
        return LogPage(found, (first + len(found)) * 10)


STREAM = LogStream("s", 0, 10**9, "s", "s")


def test_a_long_log_is_not_read_from_its_beginning_each_time() -> None:
    source, reader = Counting(100_000), StreamReader()
    assert len(list(reader.forward(source, "g", STREAM))) == 100_000
    before = source.reads
    late = list(reader.forward(source, "g", STREAM, start_ms=99_990))
    assert [line.time_ms for line in late] == list(range(99_990, 100_000))
    last = reader.backward(source, "g", STREAM, limit=5)
    assert [line.time_ms for line in last] == list(range(99_995, 100_000))
    assert source.reads - before < 12


@given(
    count=st.integers(0, 5_000),
    start=st.integers(0, 5_200),
    length=st.integers(0, 5_200) | st.none(),
    limit=st.integers(1, 3_000),
    warm=st.booleans(),
)
def test_reading_backward_gives_the_end_of_reading_forward(
    count: int, start: int, length: int | None, limit: int, warm: bool
) -> None:
    source, reader = Counting(count), StreamReader()
    if warm:
        list(reader.forward(source, "g", STREAM))
    end = None if length is None else start + length
    expected = [n for n in range(count) if n >= start and (end is None or n < end)]
    found = reader.forward(source, "g", STREAM, start_ms=start, end_ms=end)
    assert [line.time_ms for line in found] == expected
    back = reader.backward(source, "g", STREAM, limit=limit, start_ms=start, end_ms=end)
    assert [line.time_ms for line in back] == expected[-limit:]
