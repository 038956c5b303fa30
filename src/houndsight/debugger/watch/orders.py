"""What the watching command and the watched processes tell each other.

Orders go down in an environment variable, notes come up as lines of a file in the run folder.
Nothing heavy is imported here: every Python that the script starts reads it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from houndsight.files import append_json_line, read_json_lines

__all__ = ["VARIABLE", "Orders", "note", "notes"]

VARIABLE = "HOUNDSIGHT_WATCH"


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What to do in the watched processes."""

    folder: str
    """The run folder, absolute; it holds a run already."""
    rules: str | Mapping[str, Mapping[str, Any]] = "default"
    save_interval: int = 500
    stop: bool = False
    """Whether an error ends the training."""
    probe: Mapping[str, Any] = field(default_factory=dict)
    """For `houndsight.debugger.doctor`: what to try; empty where the training is only watched."""

    def to_environment(self) -> str:
        """The value of the environment variable."""
        return json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Orders | None:
        """The orders in the environment; None without any, or with some that make no sense."""
        try:
            return cls(**json.loads(os.environ[VARIABLE]))
        except (KeyError, ValueError, TypeError):
            return None


def note(folder: Path | str, kind: str, /, **values: Any) -> None:
    """Tell the watching command something; never raises."""
    row = {"kind": kind, "process": os.getpid(), **values}
    try:
        append_json_line(_file(folder), row)
    except (OSError, ValueError):
        return


def notes(folder: Path | str) -> list[dict[str, Any]]:
    """All that was told so far."""
    try:
        return read_json_lines(_file(folder))
    except OSError:
        return []


def _file(folder: Path | str) -> Path:
    return Path(folder) / "logs" / "watch.jsonl"
