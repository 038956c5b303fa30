"""Small pictures of the first photos: what the plainest classifiers are tried on."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EDGE", "Thumbnails"]

EDGE = 8
"""Pixels along an edge of a thumbnail."""
TRAINING, EVALUATION = 2048, 512
"""Photos taken of the training, and of each evaluation that is compared."""
LEAST = 256
GROWTH = 1.5
"""An evaluation is compared again when so many times the photos are known."""
MOST_CHANNELS = 4


class Thumbnails:
    """Takes the thumbnails of training batches until it has enough, and of some evaluations."""

    def __init__(self) -> None:
        self._trained = self._compared = 0
        self._evaluated = EVALUATION

    def evaluation_begins(self) -> None:
        """The first forward without gradients since a step."""
        full = self._trained >= TRAINING > self._compared
        due = self._trained >= max(GROWTH * self._compared, LEAST)
        self._evaluated = 0 if full or due else EVALUATION
        if full or due:
            self._compared = self._trained

    def take(self, inputs: Tensor, *, training: bool) -> tuple[int, Tensor] | None:
        """(n, channels, 8, 8) means over the photos' fields, of every so-many-th photo, since a
        batch may be the whole data set; None where none are wanted."""
        room = TRAINING - self._trained if training else EVALUATION - self._evaluated
        if room <= 0 or not _photos(inputs):
            return None
        every = max(-(-len(inputs) // room), 1)
        photos = inputs.detach()[::every]
        if training:
            self._trained += len(photos)
        else:
            self._evaluated += len(photos)
        # Every few pixels of a large photo are enough for the mean of a field.
        down, across = (max(size // (4 * EDGE), 1) for size in photos.shape[2:])
        return every, F.adaptive_avg_pool2d(photos[..., ::down, ::across].float(), EDGE)


def _photos(inputs: Tensor) -> bool:
    if type(inputs) not in (Tensor, nn.Parameter):
        return False
    return inputs.ndim == 4 and inputs.shape[1] <= MOST_CHANNELS and min(inputs.shape[2:]) >= EDGE
