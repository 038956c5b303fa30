"""Log groups and streams over what jobs have written, and reading them by place and by time."""

from __future__ import annotations

import bisect
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from houndsight.aws.platform import Platform
from houndsight.jobs.endpoints.logs import read_stream
from houndsight.jobs.engine import LogLine, LogPage
from houndsight.jobs.states import Kind, NotFoundError

__all__ = ["EndpointLogs", "LogSource", "LogStream", "StreamReader", "TrainingJobLogs"]

PAGE_LINES = 1_000
EVENT_BYTES = 262_144
"""The longest message of an event."""
OVERHEAD_BYTES = 26
"""What CloudWatch counts for an event beside its message."""
PAGE_BYTES = 1_048_576
"""The longest page."""
REMEMBERED = 512
"""How many streams' places are remembered."""


@dataclass(frozen=True, order=True)
class LogStream:
    """One host's log."""

    name: str
    created_ms: int
    last_ms: int
    """When something was last written."""
    owner: str
    """The job or the endpoint."""
    host: str


class LogSource(ABC):
    """Some log groups: asked for their streams whenever somebody looks, then read by offset."""

    @abstractmethod
    def groups(self) -> Sequence[tuple[str, int]]:
        """Names of the groups that exist, and when each came to be (ms)."""

    @abstractmethod
    def streams(self, group: str, prefix: str) -> list[LogStream] | None:
        """The streams whose names begin with `prefix`; None when there is no such group."""

    @abstractmethod
    def read(self, group: str, stream: LogStream, offset: int, limit: int) -> LogPage:
        """Lines from a byte offset on. Their times never decrease."""


class TrainingJobLogs(LogSource):
    """`/aws/sagemaker/TrainingJobs`, streams `JOB/algo-N-EPOCH`."""

    GROUP = "/aws/sagemaker/TrainingJobs"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def groups(self) -> Sequence[tuple[str, int]]:
        """The one group, once there was a job."""
        first = self._platform.jobs.store.list(Kind.TRAINING_JOB, limit=1).records
        return [(self.GROUP, int(first[0].created * 1000))] if first else []

    def streams(self, group: str, prefix: str) -> list[LogStream] | None:
        """A stream for each host that has begun to write."""
        if group != self.GROUP:
            return None
        job, slash, _ = prefix.partition("/")
        if not slash and not self.groups():
            return None
        found = [s for name, at in self._jobs(job, exact=bool(slash)) for s in self._of(name, at)]
        if slash and not found and not self.groups():
            return None
        return sorted(stream for stream in found if stream.name.startswith(prefix))

    def read(self, group: str, stream: LogStream, offset: int, limit: int) -> LogPage:
        """Lines of the host's log."""
        del group
        return self._platform.jobs.logs(stream.owner, stream.host, offset, limit)

    def _jobs(self, name: str, *, exact: bool) -> Iterator[tuple[str, float]]:
        store = self._platform.jobs.store
        if exact:
            try:
                yield name, store.get(Kind.TRAINING_JOB, name).created
            except NotFoundError:
                return
            return
        token = None
        while True:
            page = store.list(Kind.TRAINING_JOB, name_contains=name, limit=500, token=token)
            for record in page.records:
                if record.name.startswith(name):
                    yield record.name, record.created
            token = page.next_token
            if not token:
                return

    def _of(self, job: str, created: float) -> Iterator[LogStream]:
        hosts = self._platform.home.training_job(job).path / "hosts"
        for log in sorted(hosts.glob("*/log")) if hosts.is_dir() else ():
            yield _stream(job, log, created)


def _stream(job: str, log: Path, created: float) -> LogStream:
    host = log.parent.name
    return LogStream(
        name=f"{job}/{host}-{int(created)}",
        created_ms=int(created * 1000),
        last_ms=int(log.stat().st_mtime * 1000),
        owner=job,
        host=host,
    )


class EndpointLogs(LogSource):
    """`/aws/sagemaker/Endpoints/NAME`, streams `VARIANT/i-…`; they outlive the endpoint."""

    PREFIX = "/aws/sagemaker/Endpoints/"

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def groups(self) -> Sequence[tuple[str, int]]:
        """A group for each endpoint that has begun to write."""
        logs = sorted(self._platform.home.endpoints.glob("*/logs"))
        return [(self.PREFIX + path.parent.name, _made_ms(path)) for path in logs]

    def streams(self, group: str, prefix: str) -> list[LogStream] | None:
        """A stream for each start of each worker."""
        name = group.removeprefix(self.PREFIX)
        # Only names that stand there: what a client writes never becomes a path.
        if group == name or group not in dict(self.groups()):
            return None
        folder = self._platform.home.endpoint(name).logs
        return sorted(
            LogStream(
                name=f"{log.parent.parent.name}/{log.parent.name}",
                created_ms=_made_ms(log.parent),
                last_ms=int(log.stat().st_mtime * 1000),
                owner=name,
                host=f"{log.parent.parent.name}/{log.parent.name}",
            )
            for log in folder.glob("*/*/log")
            if f"{log.parent.parent.name}/{log.parent.name}".startswith(prefix)
        )

    def read(self, group: str, stream: LogStream, offset: int, limit: int) -> LogPage:
        """Lines of the worker's log."""
        del group
        return read_stream(self._platform.home.endpoint(stream.owner), stream.host, offset, limit)


def _made_ms(path: Path) -> int:
    return int(path.stat().st_ctime * 1000)


class StreamReader:
    """Reads streams by place and by time, and remembers where which time begins."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, str], _Places] = OrderedDict()
        self._lock = threading.Lock()

    def forward(
        self,
        source: LogSource,
        group: str,
        stream: LogStream,
        *,
        offset: int = 0,
        start_ms: int = 0,
        end_ms: int | None = None,
    ) -> Iterator[LogLine]:
        """Lines from a place on whose times lie in [start_ms, end_ms), in order."""
        places = self._of(group, stream)
        offset = max(offset, places.before(start_ms))
        while True:
            page = source.read(group, stream, offset, PAGE_LINES)
            if page.lines:
                places.learn(page)
            for line in page.lines:
                if end_ms is not None and line.time_ms >= end_ms:
                    return
                if line.time_ms >= start_ms:
                    yield line
            if not page.lines or page.next_offset <= offset:
                return
            offset = page.next_offset

    def backward(
        self,
        source: LogSource,
        group: str,
        stream: LogStream,
        *,
        before: int | None = None,
        limit: int,
        start_ms: int = 0,
        end_ms: int | None = None,
    ) -> list[LogLine]:
        """The last `limit` lines that begin before a place, within [start_ms, end_ms)."""
        last: deque[LogLine] = deque(maxlen=limit)
        for offset in self._of(group, stream).starts(limit, before, end_ms):
            last.clear()
            lines = self.forward(
                source, group, stream, offset=offset, start_ms=start_ms, end_ms=end_ms
            )
            for line in lines:
                if before is not None and line.offset >= before:
                    break
                last.append(line)
            if len(last) == limit:
                break
        return list(last)

    def _of(self, group: str, stream: LogStream) -> _Places:
        with self._lock:
            places = self._places.setdefault((group, stream.name), _Places())
            self._places.move_to_end((group, stream.name))
            while len(self._places) > REMEMBERED:
                self._places.popitem(last=False)
            return places


class _Places:
    """Where pages of a stream begin, and the time of their first lines."""

    def __init__(self) -> None:
        self._offsets: list[int] = [0]
        self._times: list[int] = [-1]
        self._lock = threading.Lock()

    def learn(self, page: LogPage) -> None:
        first = page.lines[0]
        with self._lock:
            # Only places beyond the last, and none closer than a page: the list stays short.
            if len(page.lines) >= PAGE_LINES and first.offset > self._offsets[-1]:
                self._offsets.append(first.offset)
                self._times.append(first.time_ms)

    def before(self, time_ms: int) -> int:
        """A place before which every line is older than `time_ms`."""
        with self._lock:
            return self._offsets[max(0, bisect.bisect_left(self._times, time_ms) - 1)]

    def starts(self, limit: int, before: int | None, end_ms: int | None) -> list[int]:
        """Places to look for the last `limit` lines from, the likeliest first, ending with 0."""
        with self._lock:
            until = len(self._offsets)
            if before is not None:
                until = bisect.bisect_left(self._offsets, before)
            if end_ms is not None:
                until = min(until, bisect.bisect_left(self._times, end_ms))
            back = limit // PAGE_LINES + 2
            return [self._offsets[max(0, until - back)], 0] if until > back else [0]
