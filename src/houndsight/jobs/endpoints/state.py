"""Where an endpoint stands, as its supervisor writes it and the control plane reads it.

The states are SageMaker's `EndpointStatus`::

    Creating ─► InService ◄─► OutOfService      no worker comes up any more, and is still tried
        │          ▲ │
        ▼          │ ▼
      Failed    Updating ─► RollingBack ─► InService      the old configuration never went away
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from houndsight.errors import RunError
from houndsight.files import write_atomic

__all__ = ["EndpointState", "VariantState", "WorkerState"]

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker that is in service, or will be again."""

    name: str
    """`w0`, `w1` …"""
    attempt: int
    """How often it was started."""
    socket: str
    """Relative to the endpoint's folder."""
    ready: bool
    pid: int = 0
    note: str = ""
    """What is the matter with it, for a person."""


@dataclass(frozen=True, kw_only=True)
class VariantState:
    """A variant that is in service."""

    name: str
    image: str = ""
    weight: float = 1.0
    desired_weight: float = 1.0
    instances: int = 0
    """As many of those asked for as have a worker that answers."""
    desired_instances: int = 1
    concurrency: int = 1
    """How many requests a worker takes at once."""
    workers: tuple[WorkerState, ...] = ()
    changing: str = ""
    """`Creating`, `Updating` or nothing: SageMaker's `VariantStatus`."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class EndpointState:
    """An endpoint."""

    status: str = "Creating"
    generation: int = 0
    """The one in service; 0 for none."""
    revision: int = 0
    """The last one that was dealt with."""
    config: str = ""
    failure: str = ""
    """Why it failed, or why the last update was undone."""
    variants: tuple[VariantState, ...] = ()
    memory_bytes: int = 0
    """What all its processes hold."""

    def write(self, path: Path) -> None:
        """Write it as JSON, by rename."""
        row = {"version": VERSION, **dataclasses.asdict(self)}
        write_atomic(path, json.dumps(row, indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read what `write` wrote; None before anything was.

        Raises:
            RunError: the file is damaged or of a newer version.
        """
        try:
            row = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}.") from error
        if row.pop("version", VERSION + 1) > VERSION:
            raise RunError(f"{path} was written by a newer Houndsight: update Houndsight.")
        row["variants"] = tuple(_variant(v) for v in row["variants"])
        return cls(**row)


def _variant(row: dict[str, Any]) -> VariantState:
    return VariantState(**{**row, "workers": tuple(WorkerState(**w) for w in row["workers"])})
