"""The log streams of an endpoint: one a worker, kept across its restarts and after the end."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

from houndsight.errors import RunError
from houndsight.jobs.container.clone import remove_tree
from houndsight.jobs.endpoints.state import EndpointState
from houndsight.jobs.engine import LogPage
from houndsight.jobs.layout import EndpointFolder, HostFolder
from houndsight.jobs.local.logs import read_page
from houndsight.jobs.local.processes import is_alive, read_identity

__all__ = [
    "EndpointLogStream",
    "forget_old_streams",
    "read_stream",
    "say",
    "stream_name",
    "streams",
]

KEPT_STREAMS = 50
"""Of each endpoint's name, those of deleted and replaced workers included."""
_NAME = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9-]+")


@dataclass(frozen=True)
class EndpointLogStream:
    """One worker's log."""

    name: str
    """`AllTraffic/i-0123456789abcdef0`."""
    created: float
    """Epoch seconds."""
    last: float
    """When something was last written."""


def stream_name(arn: str, created: float, generation: int, variant: str, worker: str) -> str:
    """`i-` and 17 digits, as an instance is called."""
    told = f"{arn} {created} {generation} {variant} {worker}"
    return "i-" + hashlib.sha256(told.encode()).hexdigest()[:17]


def say(stream: HostFolder, text: str, *, level: str = "INFO") -> None:
    """Append a line to a log."""
    stream.path.mkdir(parents=True, exist_ok=True)
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    line = f"{stamp},{int(now * 1000) % 1000:03d} sagemaker-inference-toolkit {level:<8} {text}\n"
    with stream.log.open("ab") as log:
        log.write(line.encode("utf-8", "backslashreplace"))


def streams(folder: EndpointFolder) -> list[EndpointLogStream]:
    """Every stream that something was written to, by name."""
    found = []
    for log in sorted(folder.logs.glob("*/*/log")):
        name = f"{log.parent.parent.name}/{log.parent.name}"
        status = log.stat()
        found.append(EndpointLogStream(name, _born(log.parent) or status.st_ctime, status.st_mtime))
    return found


def read_stream(folder: EndpointFolder, name: str, offset: int, limit: int) -> LogPage:
    """At most `limit` lines of a stream from a byte offset on; none of one that is none."""
    if not _NAME.fullmatch(name):
        return LogPage([], offset)
    variant, _, stream = name.partition("/")
    return read_page(folder.stream(variant, stream), offset, limit, ended=_has_ended(folder))


def _has_ended(folder: EndpointFolder) -> bool:
    """Whether nobody writes down times any more; until then a line without one is held back."""
    if not folder.wanted.exists():
        return True
    try:
        state = EndpointState.read(folder.status)
    except RunError:
        return False
    failed = state is not None and state.status == "Failed"
    return failed and not is_alive(read_identity(folder.supervisor))


def forget_old_streams(folder: EndpointFolder) -> None:
    """Remove the oldest streams beyond those that are kept."""
    for stream in sorted(streams(folder), key=lambda s: s.last)[:-KEPT_STREAMS]:
        variant, _, name = stream.name.partition("/")
        remove_tree(folder.stream(variant, name).path)


def _born(stream: Path) -> float:
    """When the stream began, as its first row of times says."""
    try:
        return int((stream / "log.times").read_bytes()[:30].split()[1]) / 1000
    except (OSError, ValueError, IndexError):
        return 0.0
