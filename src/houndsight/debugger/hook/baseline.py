"""How far the plainest classifiers come: on thumbnails of the photos that the network gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.hook.outcomes import Outcome
from houndsight.debugger.hook.recording import Forward
from houndsight.debugger.hook.sampling import to_numpy
from houndsight.debugger.record import Mode

__all__ = ["LINEAR", "NEIGHBOUR", "Baseline"]

LINEAR, NEIGHBOUR = "linear_accuracy", "neighbour_accuracy"
SHRINKAGE = 0.2
"""Share of the mean variance that is added to each, as in regularised discriminant analysis
(Friedman, 1989)."""
TINY = 1e-6
Array = npt.NDArray[Any]


class Baseline:
    """Linear discriminant analysis and the nearest neighbour, on the thumbnails of training.

    An evaluation at optimizer step s is compared with what was trained on before s, so that it
    does not depend on when rows are made.
    """

    def __init__(self) -> None:
        self._known: list[tuple[int, Array, Array]] = []
        """Step, thumbnails (n, values), labels (n,)."""
        self._fitted: _Fitted | None = None
        self._until = -1

    def note(self, forwards: Iterable[Forward], outcomes: Mapping[int, Outcome]) -> None:
        """Take in training forwards."""
        for forward in forwards:
            pair = _pair(forward, outcomes) if forward.mode == Mode.TRAIN else None
            if pair is not None:
                self._known.append((forward.step, *pair))

    def accuracies(
        self, forwards: Sequence[Forward], outcomes: Mapping[int, Outcome]
    ) -> dict[int, dict[str, float]]:
        """What both get right of evaluation forwards that have thumbnails, by `id`."""
        found = {}
        for forward in forwards:
            pair = _pair(forward, outcomes)
            fitted = None if pair is None else self._fit(forward.step)
            if pair is not None and fitted is not None:
                found[id(forward)] = fitted.accuracies(*pair)
        return found

    def _fit(self, step: int) -> _Fitted | None:
        if step != self._until:
            self._until, self._fitted = step, None
            before = [(photos, labels) for at, photos, labels in self._known if at < step]
            width = before[0][0].shape[1] if before else 0
            if before and all(photos.shape[1] == width for photos, _ in before):
                photos, labels = (np.concatenate(parts) for parts in zip(*before, strict=True))
                self._fitted = _Fitted(photos, labels) if len(np.unique(labels)) > 1 else None
        return self._fitted


class _Fitted:
    """Both classifiers; photos (n, values), labels (n,)."""

    def __init__(self, photos: Array, labels: Array) -> None:
        self._labels = labels
        self._centre, self._scale = photos.mean(0), np.maximum(photos.std(0), TINY)
        self._photos = self._scaled(photos)
        self._squares = np.square(self._photos).sum(1)
        self._classes, places = np.unique(labels, return_inverse=True)
        counts = np.bincount(places)[:, None]
        sums = np.zeros((len(counts), photos.shape[1]), np.float32)
        np.add.at(sums, places, self._photos)
        means = sums / counts
        rest = self._photos - means[places]
        spread = rest.T @ rest / len(rest)
        level = max(float(np.trace(spread)) / len(spread), TINY)
        spread += SHRINKAGE * level * np.eye(len(spread), dtype=np.float32)
        self._weights = np.linalg.solve(spread, means.T)
        self._bias = np.log(counts[:, 0] / len(labels)) - 0.5 * (means * self._weights.T).sum(1)

    def accuracies(self, photos: Array, labels: Array) -> dict[str, float]:
        """Shares of right answers."""
        scaled = self._scaled(photos)
        linear = self._classes[(scaled @ self._weights + self._bias).argmax(1)]
        nearest = self._labels[(self._squares - 2 * scaled @ self._photos.T).argmin(1)]
        return {
            LINEAR: float((linear == labels).mean()),
            NEIGHBOUR: float((nearest == labels).mean()),
        }

    def _scaled(self, photos: Array) -> Array:
        return np.asarray((photos - self._centre) / self._scale, np.float32)


def _pair(forward: Forward, outcomes: Mapping[int, Outcome]) -> tuple[Array, Array] | None:
    """Thumbnails and labels; None unless every photo has a class and every value is finite."""
    outcome = outcomes.get(id(forward))
    if forward.thumbnails is None or outcome is None or outcome.labels is None:
        return None
    every, thumbnails = forward.thumbnails
    if len(outcome.labels) != forward.batch:
        return None
    photos, labels = to_numpy(thumbnails), outcome.labels[::every]
    photos = photos.reshape(len(photos), -1)
    if (labels < 0).any() or not np.isfinite(photos).all():
        return None
    return photos, labels
