"""torchvision's weights: torch hub's local cache, and download.pytorch.org."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from houndsight.models.sources.base import BackboneSource, ResolvedWeights
from houndsight.models.sources.file import resolve_file
from houndsight.models.sources.network import answers, download
from houndsight.models.table import BACKBONES, WeightsEntry

__all__ = ["TorchHubCacheSource", "TorchvisionSource"]


class TorchHubCacheSource(BackboneSource):
    """Files that torch has downloaded before, under `TORCH_HOME`."""

    name: ClassVar[str] = "torch hub's cache"

    def resolve(self, name: str) -> ResolvedWeights | None:
        """The cached file."""
        path = _cached(name)
        return None if path is None else resolve_file(path, name)

    def at_hand(self, name: str) -> bool:
        """Whether a file of that name is in the cache."""
        return _cached(name) is not None

    def hint(self, name: str) -> str:  # noqa: ARG002
        """Nothing a person does by hand."""
        return ""


class TorchvisionSource(BackboneSource):
    """download.pytorch.org; what it gives is kept in torch hub's cache."""

    name: ClassVar[str] = "torchvision"
    needs_network: ClassVar[bool] = True

    def resolve(self, name: str) -> ResolvedWeights | None:
        """The preferred weights, downloaded."""
        for entry in BACKBONES[name].entries:
            if entry.source == "torchvision":
                path = _checkpoints() / entry.files[0]
                download(entry.identifier, path, sha256=entry.sha256)
                return resolve_file(path, name)
        return None

    def at_hand(self, name: str) -> bool:  # noqa: ARG002
        """Never: what was downloaded is in the cache, another source."""
        return False

    def reachable(self, name: str) -> bool:
        """Whether the server answers for this backbone."""
        urls = [e.identifier for e in BACKBONES[name].entries if e.source == "torchvision"]
        return bool(urls) and answers(urls[0])

    def hint(self, name: str) -> str:
        """The URL."""
        urls = [e.identifier for e in BACKBONES[name].entries if e.source == "torchvision"]
        return f"download {urls[0]}" if urls else ""


def _checkpoints() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _cached(name: str) -> Path | None:
    entries: tuple[WeightsEntry, ...] = BACKBONES[name].entries
    names = [file for entry in entries for file in entry.files if file.endswith(".pth")]
    return next((p for p in (_checkpoints() / file for file in names) if p.is_file()), None)
