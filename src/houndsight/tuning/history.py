"""What a search has tried: one record a trial, the log of them, and a strategy's view of it."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from houndsight.errors import RunError
from houndsight.files import append_json_line, read_json_lines
from houndsight.tuning.parameters import Space, Value

__all__ = ["Direction", "History", "TrialLog", "TrialRecord", "TrialState"]

FORMAT_VERSION = 1


class Direction(enum.StrEnum):
    """Which way the objective gets better; always said, never guessed from its name."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is strictly better."""
        return value < than if self is Direction.MINIMIZE else value > than

    @property
    def sign(self) -> float:
        """What to multiply values with so that smaller is better."""
        return 1.0 if self is Direction.MINIMIZE else -1.0


class TrialState(enum.StrEnum):
    """How a trial ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial that has ended, as it stands in `trials.jsonl`."""

    number: int
    """0, 1, 2 … in the order they were proposed."""
    parameters: Mapping[str, Value]
    state: TrialState
    value: float | None = None
    """The objective; None for a failed trial."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    intermediate: tuple[tuple[int, float], ...] = ()
    """(step, objective) as reported while it ran, in order."""
    seconds: float = 0.0
    started: str = ""
    """When it started, ISO 8601 in UTC."""
    error: str = ""
    """Why a failed trial failed."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; a metric that is not finite is kept as a string."""
        record = {"v": FORMAT_VERSION, **asdict(self)}
        record["metrics"] = {name: _plain(value) for name, value in self.metrics.items()}
        record["intermediate"] = [[step, _plain(value)] for step, value in self.intermediate]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrialRecord:
        """The record in a line of `trials.jsonl`; unknown keys are left out.

        Raises:
            KeyError, ValueError, TypeError: the line is no trial.
        """
        known = {key: record[key] for key in cls.__dataclass_fields__ if key in record}
        known["number"] = int(known["number"])
        known["state"] = TrialState(known["state"])
        known["parameters"] = dict(known["parameters"])
        known["metrics"] = {k: float(v) for k, v in known.get("metrics", {}).items()}
        known["intermediate"] = tuple((int(s), float(v)) for s, v in known.get("intermediate", ()))
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class History:
    """All that a strategy may know when it proposes trial `number`."""

    space: Space
    direction: Direction
    seed: int
    number: int
    """The number of the trial that is proposed or judged."""
    finished: tuple[TrialRecord, ...] = ()
    """The trials that have ended, by number."""
    pending: tuple[Mapping[str, Value], ...] = ()
    """Parameters of trials whose results are not known yet."""
    earlier: tuple[TrialRecord, ...] = ()
    """Trials of earlier searches, for a warm start."""
    given: int = 0
    """How many of the first trials had parameters given by the person."""

    @property
    def usable(self) -> tuple[TrialRecord, ...]:
        """Trials with a value, the earlier searches' first."""
        return tuple(r for r in (*self.earlier, *self.finished) if r.value is not None)


class TrialLog:
    """`trials.jsonl`: one line a trial, appended when it has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, record: TrialRecord) -> None:
        """Append a record."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_json_line(self.path, record.to_json())

    def read(self) -> dict[int, TrialRecord]:
        """The records by number, in order, the last of a number; torn lines are left out.

        Raises:
            RunError: a newer version wrote it.
        """
        records: dict[int, TrialRecord] = {}
        for row in read_json_lines(self.path):
            if isinstance(row.get("v"), int) and row["v"] > FORMAT_VERSION:
                raise RunError(
                    f"{self.path} has format {row['v']}, newer than this version reads "
                    f"({FORMAT_VERSION}); upgrade houndsight."
                )
            try:
                record = TrialRecord.from_json(row)
            except (KeyError, ValueError, TypeError, AttributeError):
                continue
            records[record.number] = record
        return dict(sorted(records.items()))


def _plain(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))
