"""What this machine has for jobs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from houndsight.jobs.settings import JobsSettings
from houndsight.wording import plural

__all__ = ["Machine"]

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class Machine:
    """Cores, memory and the numbers of the GPUs."""

    cores: int
    memory_bytes: int
    gpus: tuple[int, ...] = ()

    @classmethod
    def here(cls, settings: JobsSettings) -> Machine:
        """This machine, or the share of it that the settings allow."""
        memory = settings.memory_gb
        return cls(
            settings.cores or len(os.sched_getaffinity(0)),
            int(memory * (1 << 30)) if memory else _memory_bytes(),
            _gpus(),
        )

    @property
    def words(self) -> str:
        """`2 cores, 16 GB and no GPU`."""
        gpus = plural(len(self.gpus), "GPU") if self.gpus else "no GPU"
        return f"{plural(self.cores, 'core')}, {self.memory_bytes / (1 << 30):.0f} GB and {gpus}"


def _memory_bytes() -> int:
    """The machine's memory, or the limit of the control group it runs in."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_LIMITS:
        try:
            memory = min(memory, int(path.read_text()))
        except (OSError, ValueError):  # no such group, or `max`
            continue
    return memory


def _gpus() -> tuple[int, ...]:
    """Numbers of the NVIDIA GPUs that this process may use, found without a library."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        numbers = [part.strip() for part in visible.split(",")]
        return tuple(int(number) for number in numbers if number.isdigit())
    try:
        return tuple(range(len(os.listdir(_NVIDIA))))  # noqa: PTH208
    except OSError:
        return ()
