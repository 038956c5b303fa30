"""`structure.json`, kept up to date: what a training is made of, and the loss once it is known."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from houndsight.debugger.structure import LossRecord, Structure

__all__ = ["Description"]


class Description:
    """What is known of the training so far; told by its thread and by the writer's.

    Args:
        folder: where `structure.json` is written.
    """

    def __init__(self, folder: Path) -> None:
        self.structure: Structure | None = None
        self._path = folder / "structure.json"
        self._loss: LossRecord | None = None
        self._lock = threading.Lock()

    def put(self, structure: Structure) -> None:
        """All but the loss, for the first time or after it changed."""
        with self._lock:
            self.structure = structure
            self._write()

    def saw_loss(self, loss: LossRecord) -> None:
        """The first loss that was computed."""
        with self._lock:
            self._loss = loss
            self._write()

    def _write(self) -> None:
        if self.structure is None:
            return
        if self._loss is not None:
            self.structure = replace(self.structure, loss=self._loss)
        self.structure.write(self._path)
