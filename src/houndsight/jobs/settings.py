"""What a person may choose about how jobs share the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting

__all__ = ["JobsSettings"]


@dataclass(frozen=True, kw_only=True)
class JobsSettings(Settings):
    """How much of the machine jobs may take, and the limits that keep one from harming others."""

    section: ClassVar[str] = "jobs"

    cores: int | None = setting(None, minimum=1, maximum=4096)
    """Processor cores that all jobs together may take; by default those this process may use."""

    memory_gb: float | None = setting(None, minimum=0.25, maximum=100_000)
    """Memory that all jobs and endpoints together may take; by default the machine's."""

    stop_seconds: float = setting(120.0, minimum=0.0, maximum=3_600)
    """Time a script has between SIGTERM and SIGKILL, as on SageMaker."""

    log_megabytes: int = setting(256, minimum=1, maximum=1_000_000)
    """Most of a log that is kept on disk: its beginning and its end, without what is between."""

    disk_reserve_megabytes: int = setting(200, minimum=0, maximum=1_000_000)
    """When the disk has less left than this, a job that has filled it is stopped."""

    launcher: bool = setting(True)
    """Keep a process that has imported PyTorch, so that scripts start at once."""

    launcher_minutes: float = setting(10.0, minimum=0.01, maximum=10_000)
    """How long that process stays without work."""
