"""The contract of an inference backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from houndsight.models.artifact import ModelArtifact

__all__ = ["Batch", "InferenceBackend", "Probabilities"]

Batch = NDArray[np.uint8] | NDArray[np.float32]
Probabilities = NDArray[np.float32]


class InferenceBackend(ABC):
    """Computes the probabilities of batches with one runtime.

    Its life: it is made; `load` is called once with a saved model and does everything slow;
    `predict` is called any number of times, from any thread, also at once; then it is dropped.
    For the same batch every backend gives what PyTorch gives in float32, to rounding, and a
    photo's row does not depend on what else is in the batch. To add one, implement the two
    methods, put the class into `BACKENDS`, and `tests/conformance` examines it.
    """

    name: ClassVar[str]
    """How settings and the command line call it."""

    def __init__(self, *, threads: int | None = None) -> None:
        self.threads = threads

    @abstractmethod
    def load(self, artifact: ModelArtifact) -> None:
        """Get ready to predict with `artifact`.

        Raises:
            ArtifactError: the model has nothing this backend can run.
            MissingExtraError: the runtime is not installed.
        """

    @abstractmethod
    def predict(self, batch: Batch) -> Probabilities:
        """Calibrated probabilities `(n, classes)`; each row sums to one.

        Args:
            batch: decoded photos, uint8 `(n, size, size, 3)`, or normalised ones, float32
                `(n, 3, size, size)`; n is any number from 0 on.
        """
