"""What runs a frozen backbone, whatever library is underneath."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from houndsight.data.decode import Preprocessing, normalise

__all__ = ["Cut", "TrunkRuntime"]

T = TypeVar("T")
Cut = Literal["features", "boundary"]


class TrunkRuntime(ABC):
    """A compiled backbone: images to features, or to activations at the boundary.

    Batches have a fixed size: a smaller one is filled up with black images, whose rows are
    thrown away, so that a photo's features do not depend on the photos beside it. The life of a
    pass::

        for key, outputs in runtime.stream((key, images) ...):
            # submit() has been called for the batches after this one, so that they run
            # while these outputs are written to disk
    """

    description: str
    """The library, the precision and the device, for people."""
    batch_size: int
    """Images that run at once."""
    preprocessing: Preprocessing
    note: str = ""
    """Why this runtime runs and not a faster one; empty when there is none."""
    ahead: int = 1
    """Batches to have submitted before the first is waited for."""

    @abstractmethod
    def submit(self, images: NDArray[np.float32]) -> object:
        """Start on normalised images `(batch_size, 3, s, s)`; returns a ticket."""

    @abstractmethod
    def result(self, ticket: object) -> NDArray[np.float32]:
        """Wait for the outputs `(batch_size, ...)` of a ticket; tickets are asked in order."""

    def stream(
        self, batches: Iterable[tuple[T, NDArray[np.uint8]]]
    ) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """Outputs of decoded images `(n <= batch_size, s, s, 3)`, in order, with their keys.

        Whoever leaves it before its end closes it: what was submitted is then waited for.
        """
        waiting: deque[tuple[T, int, object]] = deque()
        try:
            for key, images in batches:
                waiting.append((key, len(images), self.submit(self._filled(images))))
                if len(waiting) > self.ahead:
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)
        finally:
            # A ticket holds the pixels that are being read, and a request that is to be used again.
            for _, _, ticket in waiting:
                self.result(ticket)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Outputs of any number of decoded images `(n, s, s, 3)`."""
        starts = range(0, len(images), self.batch_size)
        parts = self.stream((start, images[start : start + self.batch_size]) for start in starts)
        return np.concatenate([outputs for _, outputs in parts])

    def _filled(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(images) < self.batch_size:
            missing = self.batch_size - len(images)
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
        return normalise(images, self.preprocessing)

    def _next(self, waiting: deque[tuple[T, int, object]]) -> tuple[T, NDArray[np.float32]]:
        key, count, ticket = waiting.popleft()
        return key, self.result(ticket)[:count]
