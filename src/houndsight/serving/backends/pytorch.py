"""The model's weights through PyTorch."""

from __future__ import annotations

import threading

from houndsight.models.artifact import ModelArtifact
from houndsight.models.export import torch_network
from houndsight.serving.backends.base import Batch, InferenceBackend, Probabilities

__all__ = ["PyTorchBackend"]


class PyTorchBackend(InferenceBackend):
    """Runs the network itself in float32, on the GPU where there is one."""

    name = "torch"

    def load(self, artifact: ModelArtifact) -> None:
        """Build the network and bring it to the device."""
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._artifact = artifact
        self._network = torch_network(artifact.classifier, device=device)
        self._lock = threading.Lock()

    def predict(self, batch: Batch) -> Probabilities:
        """Run the network on the batch, one batch at a time."""
        with self._lock:
            return self._artifact.probabilities(batch, self._network)
