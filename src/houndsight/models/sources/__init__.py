"""Where backbone weights come from, one source a file."""

from houndsight.models.sources.base import BackboneSource, ResolvedWeights
from houndsight.models.sources.registry import SOURCES

__all__ = ["SOURCES", "BackboneSource", "ResolvedWeights"]
