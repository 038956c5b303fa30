"""The seam between a job and what runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import JobStatus

__all__ = ["Allotment", "Engine", "Handle", "LogLine", "LogPage"]

Handle = Mapping[str, Any]
"""What finds a started job again, after a restart of the control plane too; JSON."""


@dataclass(frozen=True, kw_only=True)
class Allotment:
    """What a job may use."""

    cores: int
    memory_bytes: int = 0
    """0: no limit."""
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class LogLine:
    """One line of a host's log."""

    time_ms: int
    message: str
    offset: int
    """Where it begins in the log, in bytes."""


@dataclass(frozen=True)
class LogPage:
    """Lines of a log, and where to read on."""

    lines: Sequence[LogLine]
    next_offset: int


class Engine(ABC):
    """Runs training jobs.

    A job's life: the control plane writes `spec.json` and calls `start` once, from a queue that
    knows how much of the machine is free. From then on only the engine writes into the job's
    folder. `status` is asked again and again, `logs` whenever somebody looks. A control plane that
    was killed calls `attach` with the stored handle for every job that had not ended: the engine
    finds it running, finds it ended, or takes it up again, and tells the truth about it.
    `stop` asks for an end and returns at once.
    """

    name: ClassVar[str]

    @abstractmethod
    def start(self, spec: TrainingSpec, folder: JobFolder, allotment: Allotment) -> Handle:
        """Start a job; returns at once."""

    @abstractmethod
    def attach(self, handle: Handle) -> None:
        """Take up a job that an earlier control plane started."""

    @abstractmethod
    def status(self, handle: Handle) -> JobStatus:
        """Where it stands."""

    @abstractmethod
    def stop(self, handle: Handle) -> None:
        """Ask it to stop: SIGTERM, 120 s, SIGKILL; what is in `model/` is still uploaded."""

    @abstractmethod
    def logs(self, handle: Handle, host: str, *, offset: int = 0, limit: int = 1_000) -> LogPage:
        """Lines of a host's log from a byte offset on."""

    def close(self) -> None:  # noqa: B027 - most engines keep nothing for themselves
        """Let go of what the engine keeps for itself; jobs go on."""

    def warm(self) -> None:  # noqa: B027
        """A job will come: get ready what takes long."""

    @abstractmethod
    def artifacts(self, handle: Handle) -> Mapping[str, str]:
        """S3 URIs of what it has left, by kind: `model`, `output`."""
