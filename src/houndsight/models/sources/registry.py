"""The sources in the order they are asked: what a person named, what is at hand, the network."""

from __future__ import annotations

from houndsight.errors import NetworkError, WeightsError
from houndsight.models.sources.base import BackboneSource, ResolvedWeights
from houndsight.models.sources.directory import DirectorySource
from houndsight.models.sources.package import PackageSource
from houndsight.models.sources.timm import HubCacheSource, TimmSource
from houndsight.models.sources.torchvision import TorchHubCacheSource, TorchvisionSource
from houndsight.models.table import BACKBONES

__all__ = ["SOURCES", "at_hand", "downloadable", "resolve"]

SOURCES: tuple[BackboneSource, ...] = (
    DirectorySource(),
    PackageSource(),
    TorchHubCacheSource(),
    HubCacheSource(),
    TorchvisionSource(),
    TimmSource(),
)


def at_hand(name: str) -> bool:
    """Whether the weights of `name` are on this machine."""
    return any(source.at_hand(name) for source in SOURCES)


def downloadable(name: str) -> bool:
    """Whether a server that has the weights of `name` answers now."""
    return any(
        source.reachable(name)
        for source in SOURCES
        if isinstance(source, TorchvisionSource | TimmSource)
    )


def resolve(name: str) -> ResolvedWeights:
    """The weights of `name` from the first source that has them.

    Raises:
        WeightsError: a file is there and unusable, or no source has any; the sentence lists what
            is at hand and how to get these.
    """
    failures = []
    for source in SOURCES:
        try:
            found = source.resolve(name)
        except NetworkError as error:
            failures.append(str(error))
            continue
        if found is not None:
            return found
    raise WeightsError(_missing(name, failures))


def _missing(name: str, failures: list[str]) -> str:
    there = [other for other in BACKBONES if at_hand(other)]
    hints = [hint for source in SOURCES if (hint := source.hint(name))]
    ways = "\n".join(f"  - {hint}" for hint in hints)
    why = " ".join(dict.fromkeys(failures))
    return (
        f"There are no weights of {name} on this machine, and none could be fetched. {why}\n"
        f"At hand: {', '.join(there) if there else 'no backbone'}. To get {name}:\n{ways}"
    )
