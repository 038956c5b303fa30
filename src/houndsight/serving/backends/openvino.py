"""The model's openvino graph through OpenVINO."""

from __future__ import annotations

from houndsight.models.artifact import ModelArtifact
from houndsight.models.graph import open_graph
from houndsight.serving.backends.base import Batch, InferenceBackend, Probabilities
from houndsight.serving.backends.needed import graph_folder

__all__ = ["OpenVINOBackend"]


class OpenVINOBackend(InferenceBackend):
    """Runs `openvino/` of the model folder on the CPU, in float32."""

    name = "openvino"

    def load(self, artifact: ModelArtifact) -> None:
        """Compile the graph."""
        folder = graph_folder(artifact, self.name)
        self._artifact = artifact
        self._network = open_graph(folder, self.name, threads=self.threads)

    def predict(self, batch: Batch) -> Probabilities:
        """Run the graph on the batch."""
        return self._artifact.probabilities(batch, self._network)
