"""What an endpoint serves: the contract, and the image classifier that fulfils it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from houndsight.data.decode import PhotoError, Reason, decode
from houndsight.data.headers import sniff
from houndsight.errors import RequestError
from houndsight.models.artifact import ModelArtifact
from houndsight.models.predictions import top_of
from houndsight.serving.backends import InferenceBackend, load_backend
from houndsight.serving.requests import ALL
from houndsight.serving.settings import ServingSettings

__all__ = ["Handler", "ImageClassifier"]

Item = TypeVar("Item")
Result = TypeVar("Result")

Pixels = NDArray[np.uint8]
Row = NDArray[np.float32]


class Handler(ABC, Generic[Item, Result]):
    """Turns encoded photos into answers.

    Its life: `load` once, before the endpoint takes requests; then for every photo `decode` in
    one of several threads, `predict` with whatever waits, always as a batch and always in the
    same thread, and `present` for the answer; `close` at the end. `decode` and `present` know
    one photo and nothing of batches; `predict` knows nothing of requests.
    """

    def load(self) -> None:
        """Do everything slow, so that the first request is as quick as the second."""

    @abstractmethod
    def decode(self, content: bytes) -> Item:
        """One photo's bytes as what `predict` takes.

        Raises:
            RequestError: it cannot be decoded; its status goes out.
        """

    @abstractmethod
    def predict(self, batch: Sequence[Item]) -> Sequence[Result]:
        """One result for each item of a batch of at least one, in order."""

    @abstractmethod
    def present(self, result: Result, top: int) -> Mapping[str, Any]:
        """A result as JSON values; `top` is how many classes, `ALL` for every one."""

    def describe(self) -> Mapping[str, Any]:
        """What is served, as JSON values, for `GET /ping`."""
        return {}

    def close(self) -> None:
        """Let go of what `load` took."""


class ImageClassifier(Handler[Pixels, Row]):
    """A saved model; answers are `{"class": …, "probability": …, "top": [{…}, …]}`."""

    def __init__(self, artifact: ModelArtifact, settings: ServingSettings) -> None:
        self._artifact = artifact
        self._settings = settings
        self._formats = frozenset(name.upper() for name in settings.formats)
        self._backend: InferenceBackend | None = None

    def load(self) -> None:
        """Load the backend and warm it up with the batch sizes that will come."""
        settings = self._settings
        self._backend = load_backend(
            self._artifact, settings.backend, threads=settings.compute_threads
        )
        edge = self._artifact.preprocessing.size
        for count in {1, settings.max_batch}:
            self._backend.predict(np.zeros((count, edge, edge, 3), np.uint8))

    def decode(self, content: bytes) -> Pixels:
        """The photo as training decoded it; 415, 413 or 422 when that cannot be done."""
        kind = sniff(content[:64])
        if kind is not None and kind not in self._formats:
            allowed = ", ".join(sorted(self._formats))
            raise RequestError(f"The photo is {kind}; this endpoint takes {allowed}.", status=415)
        try:
            return decode(
                content, self._artifact.preprocessing, max_pixels=self._settings.max_pixels
            )
        except PhotoError as error:
            status = 413 if error.reason is Reason.TOO_LARGE else 422
            raise RequestError(str(error), status=status) from error

    def predict(self, batch: Sequence[Pixels]) -> Sequence[Row]:
        """Probabilities `(classes,)` of each photo."""
        assert self._backend is not None, "load() comes first"
        return list(self._backend.predict(np.stack(batch)))

    def present(self, result: Row, top: int) -> Mapping[str, Any]:
        """The likeliest class, its probability, and the likeliest ones in order."""
        classes = self._artifact.classes
        best = top_of(result, classes, len(classes) if top == ALL else top)
        return {
            "class": best[0][0],
            "probability": best[0][1],
            "top": [{"class": name, "probability": value} for name, value in best],
        }

    def describe(self) -> Mapping[str, Any]:
        """The backbone, how many classes, and what computes."""
        return {
            "backbone": self._artifact.manifest.backbone["name"],
            "classes": len(self._artifact.classes),
            "backend": None if self._backend is None else self._backend.name,
        }
