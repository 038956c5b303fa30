"""What a backend that runs a graph needs of a model."""

from __future__ import annotations

from pathlib import Path

from houndsight.errors import ArtifactError
from houndsight.models.artifact import ModelArtifact

__all__ = ["graph_folder"]


def graph_folder(artifact: ModelArtifact, kind: str) -> Path:
    """The folder of a model that has a graph of `kind`.

    Raises:
        ArtifactError: it has none.
    """
    if artifact.graph != kind or artifact.folder is None:
        raise ArtifactError(
            f"The model has no {kind} graph; use the backend torch, or save it with graph={kind!r}."
        )
    return artifact.folder
