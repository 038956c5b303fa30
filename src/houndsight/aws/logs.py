"""CloudWatch Logs over the logs of jobs: groups, streams, pages of events, searching them."""

from __future__ import annotations

import heapq
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from houndsight.aws.filter_patterns import read_pattern
from houndsight.aws.log_streams import (
    EVENT_BYTES,
    OVERHEAD_BYTES,
    PAGE_BYTES,
    EndpointLogs,
    LogSource,
    LogStream,
    StreamReader,
    TrainingJobLogs,
)
from houndsight.aws.platform import Platform
from houndsight.aws.service import AwsError, Call, Service, operation
from houndsight.aws.tokens import read_token, token_of
from houndsight.jobs.engine import LogLine

__all__ = ["LogsService"]

MOST_EVENTS = 10_000
SCANNED_LINES = 200_000
"""A search that has read so many lines answers with what it has, and a token to go on."""
MOST_STREAMS = 50
_PLACE = re.compile(r"([fb])/([0-9]{1,18})/s")
Place = tuple[int, str, int]
"""Of an event in a search: time, stream, offset. Pages are cut between two of them."""


class LogsService(Service):
    """What clients read of CloudWatch Logs."""

    name = "logs"

    def __init__(self, platform: Platform, sources: Sequence[LogSource] | None = None) -> None:
        self._platform = platform
        usual: list[LogSource] = [TrainingJobLogs(platform), EndpointLogs(platform)]
        self._sources = usual if sources is None else list(sources)
        self._reader = StreamReader()

    @operation("DescribeLogGroups")
    def describe_log_groups(self, call: Call) -> Mapping[str, Any]:
        """Groups that exist, by name."""
        asked = call.parameters
        prefix, inside = asked.get("logGroupNamePrefix", ""), asked.get("logGroupNamePattern", "")
        if prefix and inside:
            raise _invalid("logGroupNamePrefix and logGroupNamePattern exclude each other.")
        groups = sorted(group for source in self._sources for group in source.groups())
        after = str(read_token(asked.get("nextToken"), ""))
        found = [
            group
            for group in groups
            if group[0].startswith(prefix) and inside in group[0] and group[0] > after
        ]
        limit = asked.get("limit", MOST_STREAMS)
        page = found[:limit]
        rows = [
            {
                "logGroupName": name,
                "creationTime": created,
                "metricFilterCount": 0,
                "arn": f"{self._arn(name)}:*",
                "logGroupArn": self._arn(name),
                "storedBytes": 0,
                "logGroupClass": "STANDARD",
            }
            for name, created in page
        ]
        return _page("logGroups", rows, token_of(page[-1][0]) if len(found) > limit else None)

    @operation("DescribeLogStreams")
    def describe_log_streams(self, call: Call) -> Mapping[str, Any]:
        """A group's streams by name or by their last event."""
        asked = call.parameters
        prefix, by_time = asked.get("logStreamNamePrefix", ""), _by_time(asked)
        if prefix and by_time:
            raise _invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        group, source = self._group(asked)
        streams = source.streams(group, prefix) or []

        def place(stream: LogStream) -> list[Any]:
            return [stream.last_ms, stream.name] if by_time else [stream.name]

        streams.sort(key=place, reverse=asked.get("descending", False))
        if "nextToken" in asked:
            after = read_token(asked["nextToken"], list(place(LogStream("", 0, 0, "", ""))))
            back = asked.get("descending", False)
            streams = [s for s in streams if (place(s) < after if back else place(s) > after)]
        limit = asked.get("limit", MOST_STREAMS)
        rows = [self._stream_row(group, source, stream) for stream in streams[:limit]]
        more = len(streams) > limit
        return _page("logStreams", rows, token_of(place(streams[limit - 1])) if more else None)

    @operation("GetLogEvents")
    def get_log_events(self, call: Call) -> Mapping[str, Any]:
        """A page of one stream; at an end an empty page, with the token it was asked with."""
        asked = call.parameters
        group, source = self._group(asked)
        stream = self._stream(group, source, asked["logStreamName"])
        ahead, place = _read_place(asked)
        limit = asked.get("limit", MOST_EVENTS)
        times = {"start_ms": asked.get("startTime", 0), "end_ms": asked.get("endTime")}
        if ahead:
            found = self._reader.forward(source, group, stream, offset=place or 0, **times)
            lines = list(_fill(found, limit))
        else:
            newest = self._reader.backward(
                source, group, stream, before=place, limit=limit, **times
            )
            lines = list(_fill(reversed(newest), limit))[::-1]
        first, behind = place or 0, place or 0
        if lines:
            first, behind = lines[0].offset, self._end_of(source, group, stream, lines[-1])
        elif not ahead and place is None:
            first = behind = 0
        return {
            "events": [_event(line) for line in lines],
            "nextForwardToken": f"f/{behind:018d}/s",
            "nextBackwardToken": f"b/{first:018d}/s",
        }

    @operation("FilterLogEvents")
    def filter_log_events(self, call: Call) -> Mapping[str, Any]:
        """Events of many streams in the order of their times."""
        asked = call.parameters
        group, source = self._group(asked)
        matches = read_pattern(asked.get("filterPattern", ""))
        after = _read_search_token(asked.get("nextToken"))
        start_ms, end_ms = asked.get("startTime", 0), asked.get("endTime")
        streams = [
            stream
            for stream in self._searched(group, source, asked)
            if stream.last_ms >= start_ms and (end_ms is None or stream.created_ms < end_ms)
        ]
        begin = start_ms if after is None else max(start_ms, after[0])
        merged = heapq.merge(
            *(self._places(source, group, s, begin, end_ms) for s in streams), key=lambda x: x[0]
        )
        limit = asked.get("limit", MOST_EVENTS)
        events: list[dict[str, Any]] = []
        size, scanned = 0, 0
        last: Place | None = None
        for place, line in merged:
            if after is not None and place <= after:
                continue
            wanted = matches(line.message)
            cost = len(line.message.encode()) + OVERHEAD_BYTES if wanted else 0
            full = len(events) >= limit or (events and size + cost > PAGE_BYTES)
            if full or scanned >= SCANNED_LINES:
                return _page("events", events, token_of(list(last or ())), searchedLogStreams=[])
            scanned, size, last = scanned + 1, size + cost, place
            if wanted:
                events.append(_found(place, line))
        return _page("events", events, None, searchedLogStreams=[])

    def _places(
        self, source: LogSource, group: str, stream: LogStream, start_ms: int, end_ms: int | None
    ) -> Iterator[tuple[Place, LogLine]]:
        lines = self._reader.forward(source, group, stream, start_ms=start_ms, end_ms=end_ms)
        for line in lines:
            yield (line.time_ms, stream.name, line.offset), line

    def _searched(
        self, group: str, source: LogSource, asked: Mapping[str, Any]
    ) -> Iterable[LogStream]:
        names = asked.get("logStreamNames")
        if not names:
            return source.streams(group, asked.get("logStreamNamePrefix", "")) or []
        if "logStreamNamePrefix" in asked:
            raise _invalid("logStreamNames and logStreamNamePrefix exclude each other.")
        return [self._stream(group, source, name) for name in dict.fromkeys(names)]

    def _group(self, asked: Mapping[str, Any]) -> tuple[str, LogSource]:
        if "logGroupName" in asked and "logGroupIdentifier" in asked:
            raise _invalid("logGroupName and logGroupIdentifier exclude each other.")
        name = asked.get("logGroupName") or asked.get("logGroupIdentifier")
        if not name:
            raise _invalid("logGroupName is missing.")
        group = str(name).partition(":log-group:")[2].removesuffix(":*") or str(name)
        for source in self._sources:
            if any(group == known for known, _ in source.groups()):
                return group, source
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")

    def _stream(self, group: str, source: LogSource, name: str) -> LogStream:
        for stream in source.streams(group, name) or ():
            if stream.name == name:
                return stream
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")

    def _end_of(self, source: LogSource, group: str, stream: LogStream, line: LogLine) -> int:
        """Where the line after `line` begins."""
        return source.read(group, stream, line.offset, 1).next_offset

    def _stream_row(self, group: str, source: LogSource, stream: LogStream) -> dict[str, Any]:
        first = list(itertools.islice(self._reader.forward(source, group, stream), 1))
        row: dict[str, Any] = {
            "logStreamName": stream.name,
            "creationTime": stream.created_ms,
            "arn": f"{self._arn(group)}:log-stream:{stream.name}",
            "storedBytes": 0,
        }
        if first:
            row["firstEventTimestamp"] = first[0].time_ms
            row["lastEventTimestamp"] = row["lastIngestionTime"] = max(
                stream.last_ms, first[0].time_ms
            )
        return row

    def _arn(self, group: str) -> str:
        return f"arn:aws:logs:{self._platform.region}:{self._platform.account}:log-group:{group}"


def _by_time(asked: Mapping[str, Any]) -> bool:
    return bool(asked.get("orderBy", "LogStreamName") == "LastEventTime")


def _read_place(asked: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Whether to read ahead, and from which offset; None for the stream's own end."""
    token = asked.get("nextToken")
    if token is None:
        ahead = bool(asked.get("startFromHead", False))
        return ahead, 0 if ahead else None
    matched = _PLACE.fullmatch(token)
    if matched is None:
        raise _invalid("The specified nextToken is invalid.")
    return matched[1] == "f", int(matched[2])


def _read_search_token(token: str | None) -> Place | None:
    if token is None:
        return None
    place: list[Any] = read_token(token, [0, "", 0])
    return place[0], place[1], place[2]


def _fill(lines: Iterable[LogLine], limit: int) -> Iterator[LogLine]:
    """As many lines as a page holds; one always."""
    size = 0
    for number, line in enumerate(lines):
        size += min(EVENT_BYTES, len(line.message.encode())) + OVERHEAD_BYTES
        if number == limit or (number and size > PAGE_BYTES):
            return
        yield line


def _event(line: LogLine) -> dict[str, Any]:
    return {
        "timestamp": line.time_ms,
        "message": line.message[:EVENT_BYTES],
        "ingestionTime": line.time_ms,
    }


def _found(place: Place, line: LogLine) -> dict[str, Any]:
    _, stream, offset = place
    identifier = f"{zlib.crc32(stream.encode()):010d}{offset:020d}"
    return {**_event(line), "logStreamName": stream, "eventId": identifier}


def _page(name: str, rows: Any, token: str | None, **more: Any) -> dict[str, Any]:
    return {name: rows, **more, **({"nextToken": token} if token else {})}


def _invalid(why: str) -> AwsError:
    return AwsError("InvalidParameterException", why)
