"""What the supervisor keeps an eye on beside the workers: their logs' times, and their memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from houndsight.config import resolve
from houndsight.jobs.layout import EndpointFolder
from houndsight.jobs.local.following import LogFollower
from houndsight.jobs.local.metrics import MetricReader
from houndsight.jobs.local.processes import is_alive, read_identity
from houndsight.jobs.local.stub import descendants, process_table
from houndsight.jobs.settings import JobsSettings

__all__ = ["LogKeeper", "memory_of"]


class LogKeeper:
    """Writes down when which byte of a log was there, and shortens logs that grow too long."""

    def __init__(self, folder: EndpointFolder) -> None:
        self._folder = folder
        self._keep_bytes = resolve(JobsSettings).value.log_megabytes << 20
        self._followers: dict[Path, LogFollower] = {}

    def follow(self) -> None:
        """Take in what is new."""
        for log in self._folder.logs.glob("*/*/log"):
            follower = self._followers.get(log)
            if follower is None:
                stream = self._folder.stream(log.parent.parent.name, log.parent.name)
                metrics = MetricReader(stream.path / "metrics.jsonl", (), _say_nothing)
                follower = LogFollower(stream, metrics, keep_bytes=self._keep_bytes)
                self._followers[log] = follower
            with contextlib.suppress(OSError):
                follower.follow()


def memory_of(folder: EndpointFolder) -> int:
    """What all processes of all workers hold, shared pages counted once (PSS)."""
    table, total = process_table(), 0
    for path in folder.generations.glob("*/*/attempts/*/hosts/worker/process.json"):
        identity = read_identity(path)
        if identity is not None and is_alive(identity):
            family = (identity["pid"], *descendants(identity["pid"], table))
            total += sum(map(_held_by, family))
    return total


def _held_by(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _say_nothing(_: str) -> None:
    return
