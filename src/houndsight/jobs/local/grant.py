"""What a job may use, and the limits its supervisor keeps: `allotment.json`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from houndsight.errors import RunError
from houndsight.files import write_atomic
from houndsight.jobs.engine import Allotment

__all__ = ["Grant", "Limits"]

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What keeps one job from harming others; see `JobsSettings`."""

    stop_s: float = 120.0
    log_bytes: int = 256_000_000
    disk_reserve_bytes: int = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Written by the control plane before the supervisor starts."""

    allotment: Allotment
    limits: Limits = field(default_factory=Limits)
    advice: str = ""
    """What the log says once about the machine, when it is not what was asked for."""

    def write(self, path: Path) -> None:
        """Write it as JSON, by rename."""
        row = {"version": VERSION, **dataclasses.asdict(self)}
        write_atomic(path, json.dumps(row, indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            RunError: the file is missing, damaged or of a newer version.
        """
        try:
            row = json.loads(path.read_bytes())
            if row["version"] > VERSION:
                raise RunError(f"{path} was written by a newer Houndsight: update Houndsight.")
            given = row["allotment"]
            allotment = Allotment(**{**given, "gpus": tuple(given["gpus"])})
            return cls(allotment=allotment, limits=Limits(**row["limits"]), advice=row["advice"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is missing or damaged: {error}.") from error
