"""One figure of the system at one time."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ProfilerSystemEvent"]


@dataclass(frozen=True)
class ProfilerSystemEvent:
    """`type` is cpu, gpu, memory or network; `timestamp` in seconds since the epoch."""

    type: str
    name: str
    dimension: str
    value: float
    node_id: str
    timestamp: float
