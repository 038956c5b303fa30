"""Where a training job stands, as its supervisor writes it and everybody else reads it.

The states and their order are SageMaker's `SecondaryStatus`::

    Pending ─► Starting ─► Downloading ─► Training ─► Uploading ─► Completed
                  │             │             │            │
                  └─────────────┴──────┬──────┴────────────┘
                                       ├─► Stopping ─► Stopped
                                       ├─► MaxRuntimeExceeded (stopped by its limit)
                                       └─► Failed
"""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from houndsight.errors import RunError
from houndsight.files import write_atomic

__all__ = ["JobState", "JobStatus", "RuleStatus", "Transition"]

VERSION = 1


class JobState(enum.StrEnum):
    """SageMaker's secondary status of a training job."""

    PENDING = "Pending"
    STARTING = "Starting"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    UPLOADING = "Uploading"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in _ENDED

    @property
    def primary(self) -> str:
        """SageMaker's `TrainingJobStatus`."""
        return _PRIMARY.get(self, "InProgress")

    def may_become(self, other: JobState) -> bool:
        """Whether `other` may follow."""
        return other in _NEXT.get(self, frozenset())


_PRIMARY = {
    JobState.COMPLETED: "Completed",
    JobState.FAILED: "Failed",
    JobState.STOPPING: "Stopping",
    JobState.STOPPED: "Stopped",
    JobState.MAX_RUNTIME_EXCEEDED: "Stopped",
}
_ENDED = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.STOPPED, JobState.MAX_RUNTIME_EXCEEDED}
)
_ALWAYS = frozenset({JobState.STOPPING, JobState.STOPPED, JobState.FAILED})
_NEXT: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: _ALWAYS | {JobState.STARTING},
    JobState.STARTING: _ALWAYS | {JobState.DOWNLOADING, JobState.TRAINING},
    JobState.DOWNLOADING: _ALWAYS | {JobState.TRAINING},
    JobState.TRAINING: _ALWAYS | {JobState.UPLOADING, JobState.MAX_RUNTIME_EXCEEDED},
    JobState.UPLOADING: _ALWAYS | {JobState.COMPLETED, JobState.MAX_RUNTIME_EXCEEDED},
    JobState.STOPPING: frozenset(
        {
            JobState.UPLOADING,
            JobState.STOPPED,
            JobState.FAILED,
            JobState.COMPLETED,
            JobState.MAX_RUNTIME_EXCEEDED,
        }
    ),
}


@dataclass(frozen=True)
class Transition:
    """One line of SageMaker's `SecondaryStatusTransitions`; times are epoch seconds."""

    status: str
    message: str
    start: float
    end: float | None = None


@dataclass(frozen=True)
class RuleStatus:
    """How a rule that the job asked for stands: `RuleEvaluationStatus` and its text."""

    status: str
    """InProgress, NoIssuesFound, IssuesFound, Error, Stopping, Stopped."""
    details: str = ""
    modified: float = 0.0


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """`status.json`: where a job stands. Times are epoch seconds."""

    state: JobState = JobState.PENDING
    transitions: tuple[Transition, ...] = ()
    modified: float = 0.0
    training_started: float | None = None
    training_ended: float | None = None
    exit_code: int | None = None
    failure_reason: str = ""
    model_artifact: str = ""
    """S3 URI of `model.tar.gz`, when there is one."""
    output_artifact: str = ""
    waiting_for: str = ""
    """What a queued job waits for, once it has waited for ten seconds."""
    rules: dict[str, RuleStatus] = field(default_factory=dict)
    profiler_rules: dict[str, RuleStatus] = field(default_factory=dict)
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The last value of each metric and its time."""

    def moved(self, state: JobState, message: str, now: float, **changes: Any) -> Self:
        """The status after a change of state: ends the last transition, begins the next."""
        done = [replace(t, end=t.end if t.end is not None else now) for t in self.transitions]
        then = Transition(state.value, message, now, now if state.ended else None)
        return replace(self, state=state, transitions=(*done, then), modified=now, **changes)

    def write(self, path: Path) -> None:
        """Write it as JSON, by rename."""
        row = {"format": VERSION, **dataclasses.asdict(self)}
        write_atomic(path, json.dumps(row, indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote; a job whose supervisor has written nothing yet is pending.

        Raises:
            RunError: the file is damaged or of a newer version.
        """
        try:
            return cls.from_json(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is damaged: {error}.") from error

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return {"format": VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """From what `to_json` made."""
        if row.get("format", 0) > VERSION:
            raise RunError("A job's status was written by a newer Houndsight: update Houndsight.")
        known = {f.name for f in dataclasses.fields(cls)}
        values = {name: value for name, value in row.items() if name in known}
        values["state"] = JobState(values["state"])
        values["transitions"] = tuple(Transition(**t) for t in values.get("transitions", ()))
        for name in ("rules", "profiler_rules"):
            values[name] = {k: RuleStatus(**v) for k, v in values.get(name, {}).items()}
        values["metrics"] = {k: (v[0], v[1]) for k, v in values.get("metrics", {}).items()}
        return cls(**values)
