"""What computes the probabilities: one runtime a file, and the registry of all of them."""

from __future__ import annotations

from houndsight.errors import ArtifactError, MissingExtraError
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.backends.base import InferenceBackend
from houndsight.serving.backends.onnxruntime import ONNXRuntimeBackend
from houndsight.serving.backends.openvino import OpenVINOBackend
from houndsight.serving.backends.pytorch import PyTorchBackend

__all__ = ["BACKENDS", "InferenceBackend", "load_backend"]

BACKENDS: dict[str, type[InferenceBackend]] = {
    cls.name: cls for cls in (OpenVINOBackend, ONNXRuntimeBackend, PyTorchBackend)
}
"""Name -> backend; a new one is added here and joins the conformance suite by that."""


def load_backend(
    artifact: ModelArtifact, name: str = "auto", *, threads: int | None = None
) -> InferenceBackend:
    """A backend that holds `artifact` and is ready to predict.

    Args:
        name: of the registry; `auto` takes the model's graph where it can run, else PyTorch.
        threads: processor threads of one batch; by default all.

    Raises:
        ArtifactError: the name is unknown, or the model has nothing that backend can run.
        MissingExtraError: the backend's runtime is not installed.
    """
    if name != "auto":
        return _load(artifact, name, threads)
    if artifact.graph is not None:
        try:
            return _load(artifact, artifact.graph, threads)
        except (MissingExtraError, ArtifactError):
            pass  # the weights are there all the same, and PyTorch is a part of the base install
    return _load(artifact, "torch", threads)


def _load(artifact: ModelArtifact, name: str, threads: int | None) -> InferenceBackend:
    if name not in BACKENDS:
        raise ArtifactError(f"There is no backend {name!r}; there are {', '.join(BACKENDS)}.")
    backend = BACKENDS[name](threads=threads)
    backend.load(artifact)
    return backend
