"""A trial in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from houndsight.debugger.saved import Files, LocalFiles

from .trial import Trial

__all__ = ["LocalTrial"]


class LocalTrial(Trial):
    """A trial in a folder: a run's, or a copy of what a job left in S3."""

    def __init__(self, name: str, dirname: str, **options: Any) -> None:
        self._folder = Path(dirname).expanduser()
        super().__init__(name, path=str(dirname), **options)

    def _find(self) -> Mapping[str, Files]:
        found = self._folder.rglob("saved/saved.json")
        # Links that lead elsewhere belong to somebody else.
        folders = sorted(p.parent for p in found if not p.is_symlink())
        return {str(folder): LocalFiles(folder) for folder in folders}

    def _has_end_marker(self) -> bool:
        return any(self._folder.rglob("training_job_end.ts"))
