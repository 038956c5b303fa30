"""The directory named by `HOUNDSIGHT_WEIGHTS`: files known by name, or by the shapes in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from houndsight.errors import WeightsError
from houndsight.models.sources.base import BackboneSource, ResolvedWeights
from houndsight.models.sources.file import SUFFIXES, name_of_file, names_by_shape, resolve_file

__all__ = ["VARIABLE", "DirectorySource"]

VARIABLE = "HOUNDSIGHT_WEIGHTS"


class DirectorySource(BackboneSource):
    """Weights files a person has put somewhere; the strongest source, since it was said."""

    name: ClassVar[str] = "directory"

    def resolve(self, name: str) -> ResolvedWeights | None:
        """The first fitting file; when only unfitting ones carry the name, their error."""
        path = self._find(name)
        return None if path is None else resolve_file(path, name)

    def at_hand(self, name: str) -> bool:
        """Whether a readable file fits."""
        path = self._find(name)
        try:
            return path is not None and name in names_by_shape(path)
        except WeightsError:
            return False

    def hint(self, name: str) -> str:
        """The file to put there."""
        return f"put a file such as {name}.safetensors into a directory and set {VARIABLE} to it"

    def _find(self, name: str) -> Path | None:
        named = [path for path in self._files() if name_of_file(path) == name]
        others = [path for path in self._files() if name_of_file(path) is None]
        return next((p for p in named + others if _fits(p, name)), named[0] if named else None)

    def _files(self) -> list[Path]:
        value = os.environ.get(VARIABLE)
        if not value:
            return []
        folder = Path(value).expanduser()
        if folder.is_file():
            return [folder]
        if not folder.is_dir():
            raise WeightsError(f"{VARIABLE} is {value}, which is no directory.")
        return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def _fits(path: Path, name: str) -> bool:
    try:
        return name in names_by_shape(path)
    except WeightsError:
        return False
