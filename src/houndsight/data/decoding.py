"""Batches of decoded photos, in order, ahead of the one that is being used.

With workers the pixels are written once, into shared memory, by processes that run at a lower
priority than the consumer's threads: on a busy machine they take what the network leaves, and
as much as there is when the network has to wait for them.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from houndsight.data.decode import MAX_PIXELS, PhotoError, Preprocessing, decode
from houndsight.data.workers import WorkerPool, core_count

__all__ = ["DecodedBatch", "decode_batches"]

_WORTH_WORKERS = 48
"""Photos below which starting workers takes longer than decoding without them."""

_NICENESS = 10
"""A graph on all cores waits for its slowest thread at every layer, so a decoder that takes its
turn on one core stops the others too. At this niceness it gets a tenth of a core that the graph
wants and all of one that is free; when the graph has to wait for photos, every core is."""


@dataclass(frozen=True)
class DecodedBatch:
    """Some consecutive photos of those asked for."""

    indices: np.ndarray
    """Which of the paths the rows of `images` are: int64 `(n,)`, ascending."""
    images: np.ndarray
    """uint8 `(n, size, size, 3)`, RGB; a copy that may be kept."""
    errors: dict[int, str]
    """Index of each photo that cannot be decoded, with `kind: detail`; it has no row."""


def decode_batches(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    batch_size: int = 32,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    hashes: NDArray[np.bytes_] | None = None,
    ahead: int = 2,
) -> Iterator[DecodedBatch]:
    """Decode `paths` in order, `batch_size` at a time.

    `workers` is a number of processes, by default one a core (none for a handful of photos);
    0 decodes in this process, when asked. `ahead` batches are decoded before they are asked
    for, so memory is bounded by `(ahead + 1) * batch_size` images. A photo that cannot be
    decoded, or that ends the process decoding it, is in `errors`; so is one whose content has
    not the hash that `hashes` has for it, where that is given and not empty.

    Raises:
        DataError: worker processes cannot be started.
    """
    assert batch_size > 0 and ahead >= 0
    if not paths:
        return iter(())
    if workers is None:
        workers = core_count() if len(paths) >= _WORTH_WORKERS else 0
    if workers == 0:
        return _decode_here(paths, hashes, preprocessing, batch_size, max_pixels)
    return _decode_ahead(paths, hashes, preprocessing, batch_size, max_pixels, workers, ahead + 1)


@dataclass(frozen=True)
class _DecodeJob:
    """Decodes a photo into its place in the shared memory; answers None or `kind: detail`."""

    preprocessing: Preprocessing
    max_pixels: int

    def __call__(self, item: tuple[str, int, bytes], memory: mmap.mmap | None) -> str | None:
        path, start, content_hash = item
        assert memory is not None
        try:
            pixels = decode(
                Path(path),
                self.preprocessing,
                max_pixels=self.max_pixels,
                content_hash=content_hash,
            )
        except PhotoError as error:
            return error.text
        memory[start : start + pixels.nbytes] = pixels.tobytes()
        return None


def _decode_here(
    paths: Sequence[Path],
    hashes: NDArray[np.bytes_] | None,
    preprocessing: Preprocessing,
    batch_size: int,
    max_pixels: int,
) -> Iterator[DecodedBatch]:
    for start in range(0, len(paths), batch_size):
        indices, images, errors = [], [], {}
        for index in range(start, min(start + batch_size, len(paths))):
            try:
                images.append(
                    decode(
                        paths[index],
                        preprocessing,
                        max_pixels=max_pixels,
                        content_hash=b"" if hashes is None else bytes(hashes[index]),
                    )
                )
                indices.append(index)
            except PhotoError as error:
                errors[index] = error.text
        edge = preprocessing.size
        stacked = np.stack(images) if images else np.empty((0, edge, edge, 3), np.uint8)
        yield DecodedBatch(np.array(indices, np.int64), stacked, errors)


def _decode_ahead(
    paths: Sequence[Path],
    hashes: NDArray[np.bytes_] | None,
    preprocessing: Preprocessing,
    batch_size: int,
    max_pixels: int,
    workers: int,
    slots: int,
) -> Iterator[DecodedBatch]:
    edge, count = preprocessing.size, len(paths)
    image_bytes = edge * edge * 3
    batches = -(-count // batch_size)
    slots = min(slots, batches)
    job = _DecodeJob(preprocessing, max_pixels)
    left = [0] * slots
    errors: list[dict[int, str]] = [{} for _ in range(slots)]

    def submit(batch: int) -> None:
        slot, start = batch % slots, batch * batch_size
        indices = range(start, min(start + batch_size, count))
        left[slot], errors[slot] = len(indices), {}
        rows = (slot * batch_size + index - start for index in indices)
        pool.submit(
            (index, (os.fspath(paths[index]), row * image_bytes, hash_of(index)))
            for index, row in zip(indices, rows, strict=True)
        )

    def hash_of(index: int) -> bytes:
        return b"" if hashes is None else bytes(hashes[index])

    size = slots * batch_size * image_bytes
    with WorkerPool(job, workers, shared_bytes=size, niceness=_NICENESS) as pool:
        assert pool.memory is not None
        ring = np.frombuffer(pool.memory, np.uint8).reshape(slots, batch_size, edge, edge, 3)
        for batch in range(slots):
            submit(batch)
        for batch in range(batches):
            slot, start = batch % slots, batch * batch_size
            while left[slot]:
                for index, error in pool.answers():
                    answered = index // batch_size % slots
                    left[answered] -= 1
                    if error is not None:
                        errors[answered][index] = error
            bad = errors[slot]
            stop = min(start + batch_size, count)
            indices = np.array([i for i in range(start, stop) if i not in bad], np.int64)
            done = DecodedBatch(indices, ring[slot, indices - start], bad)
            if batch + slots < batches:
                submit(batch + slots)
            yield done
