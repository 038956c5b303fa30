"""timm's weights: the Hugging Face hub and its local cache."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from houndsight.errors import NetworkError
from houndsight.models.sources.base import BackboneSource, ResolvedWeights
from houndsight.models.sources.file import resolve_file
from houndsight.models.sources.network import answers
from houndsight.models.table import BACKBONES, WeightsEntry

__all__ = ["HubCacheSource", "TimmSource"]

_FILES = ("model.safetensors", "pytorch_model.bin")


class HubCacheSource(BackboneSource):
    """What timm has downloaded before, in the Hugging Face cache."""

    name: ClassVar[str] = "the Hugging Face cache"

    def resolve(self, name: str) -> ResolvedWeights | None:
        """The cached snapshot's weights."""
        for entry in _entries(name):
            path = _cached(entry)
            if path is not None:
                found = resolve_file(path, name)
                return ResolvedWeights(found.state, entry, f"{entry.identifier} (cached)")
        return None

    def at_hand(self, name: str) -> bool:
        """Whether a snapshot is in the cache."""
        return any(_cached(entry) is not None for entry in _entries(name))

    def hint(self, name: str) -> str:  # noqa: ARG002
        """Nothing a person does by hand."""
        return ""


class TimmSource(BackboneSource):
    """The Hugging Face hub."""

    name: ClassVar[str] = "timm"
    needs_network: ClassVar[bool] = True

    def resolve(self, name: str) -> ResolvedWeights | None:
        """The repository's weights, downloaded into the Hugging Face cache."""
        for entry in _entries(name):
            found = resolve_file(_download(entry), name)
            return ResolvedWeights(found.state, entry, entry.identifier)
        return None

    def at_hand(self, name: str) -> bool:  # noqa: ARG002
        """Never: what was downloaded is in the cache, another source."""
        return False

    def reachable(self, name: str) -> bool:
        """Whether the hub answers for this backbone."""
        return bool(_entries(name)) and _hub_answers()

    def hint(self, name: str) -> str:
        """The hub's command line."""
        entries = _entries(name)
        return f"hf download {entries[0].identifier}" if entries else ""


def _entries(name: str) -> list[WeightsEntry]:
    return [entry for entry in BACKBONES[name].entries if entry.source == "timm"]


def _cached(entry: WeightsEntry) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for file in _FILES:
        path = try_to_load_from_cache(entry.identifier, file)
        if isinstance(path, str):
            return Path(path)
    return None


def _hub_answers() -> bool:
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and answers(constants.ENDPOINT)


def _download(entry: WeightsEntry) -> Path:
    """The weights file, through the hub's own client once the hub is known to answer.

    The client retries for minutes on a machine without network, so it is asked only then.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if not _hub_answers():
        raise NetworkError("The Hugging Face hub does not answer.")
    try:
        return Path(hf_hub_download(entry.identifier, _FILES[0], etag_timeout=10))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise NetworkError(f"{entry.identifier} could not be downloaded: {error}") from error
