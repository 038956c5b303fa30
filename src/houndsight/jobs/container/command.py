"""What a host of a job executes, and the error that says why it cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from houndsight.errors import HoundsightError

__all__ = ["ContainerError", "ForkPlan", "HostCommand", "merged_environment"]


class ContainerError(HoundsightError):
    """The job cannot be started as it is; the sentence becomes its FailureReason."""


@dataclass(frozen=True, kw_only=True)
class ForkPlan:
    """How a process that holds PyTorch already runs the script instead of a fresh Python.

    The forked child takes the `HostCommand`'s environment, calls
    `houndsight.jobs.container.enter.enter(plan)` (namespace, working directory, head of the log),
    puts the entries of `PYTHONPATH` after the script's folder on `sys.path`, sets `sys.argv` and
    runs `script` as `__main__`.
    """

    script: str
    """As Python would get it: relative to the working directory that `enter` sets."""
    argv: tuple[str, ...]
    """`sys.argv`, the script first."""
    plan: Path
    """What `enter` reads."""


@dataclass(frozen=True, kw_only=True)
class HostCommand:
    """What one host executes; its stub adds nothing but the log file and the wait."""

    host: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Complete: nothing is inherited."""
    cwd: Path = Path()
    forkable: ForkPlan | None = None
    namespace: bool = False
    """Whether the process gets a private `/opt/ml`."""

    def with_environment(self, extra: Mapping[str, str]) -> Self:
        """With more variables; `PYTHONPATH` is appended to, not replaced."""
        return replace(self, environment=merged_environment(self.environment, extra))


def merged_environment(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Both, the second winning; their `PYTHONPATH`s one after the other, without doubles."""
    merged = {**first, **second}
    paths = [e.get("PYTHONPATH", "") for e in (first, second)]
    parts = [part for path in paths for part in path.split(os.pathsep) if part]
    if parts:
        merged["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(parts))
    return merged
