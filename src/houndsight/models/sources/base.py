"""What a source of backbone weights is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from houndsight.models.table import WeightsEntry

__all__ = ["BackboneSource", "ResolvedWeights"]


@dataclass(frozen=True)
class ResolvedWeights:
    """Weights that were found, exactly as many as the backbone has parameters."""

    state: Mapping[str, Tensor]
    """Parameters and buffers by timm's names, float32, without a classifier."""
    entry: WeightsEntry | None
    """Which published weights they are, when the file's name or hash says so."""
    origin: str
    """Where they came from, for people."""


class BackboneSource(ABC):
    """A place that may have weights.

    `load_backbone` asks the sources one after another, those without network first::

        for source in sources:
            weights = source.resolve(name)     # None: not here, ask the next
            if weights is not None: break
        else: WeightsError, made of every source's hint(name)

    `resolve` raises WeightsError when something is here and cannot be used: a damaged or foreign
    file is never passed over silently. `at_hand` is cheap and never touches the network.
    """

    name: ClassVar[str]
    needs_network: ClassVar[bool] = False

    @abstractmethod
    def resolve(self, name: str) -> ResolvedWeights | None:
        """The weights of backbone `name`, or None when this source has none.

        Raises:
            WeightsError: there are weights and they cannot be used.
            NetworkError: the network is needed and does not answer.
        """

    @abstractmethod
    def at_hand(self, name: str) -> bool:
        """Whether `resolve(name)` would find weights without network."""

    @abstractmethod
    def hint(self, name: str) -> str:
        """How a person gets weights of `name` from here, as a sentence; empty when it cannot."""
