"""Which versions no job may change: those that the host's PyTorch was built and tested with."""

from __future__ import annotations

from pathlib import Path

from houndsight.jobs.container.image import host_version

__all__ = ["FIXED", "constraint_lines", "write_constraints"]

FIXED = ("numpy", "pillow", "protobuf", "torch", "torchvision")


def constraint_lines() -> list[str]:
    """`numpy==2.4.1` … for every fixed package that is installed."""
    versions = {name: host_version(name) for name in FIXED}
    return [f"{name}=={version}" for name, version in versions.items() if version]


def write_constraints(path: Path) -> Path:
    """The file that pip reads, for `requirements.txt` and inside the script (`PIP_CONSTRAINT`)."""
    path.write_text("\n".join(constraint_lines()) + "\n")
    return path
