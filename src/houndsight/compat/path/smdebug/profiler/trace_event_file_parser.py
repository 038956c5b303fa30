"""One thing that the framework did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TraceEvent"]


@dataclass(frozen=True)
class TraceEvent:
    """`start_time` and `end_time` in nanoseconds since the epoch."""

    start_time: int
    end_time: int
    event_name: str
    event_phase: str = ""
    event_args: Mapping[str, Any] = field(default_factory=dict)
    tid: int = 0
    pid: int = 0
    node_id: str = "algo-1"

    @property
    def duration(self) -> int:
        """In nanoseconds."""
        return self.end_time - self.start_time
