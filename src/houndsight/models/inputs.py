"""Photos in any form a caller may hold them, made into the batch a network takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from houndsight.data.decode import Preprocessing, decode, fit_image
from houndsight.errors import DataError

__all__ = ["ImageLike", "as_list", "decode_all"]

ImageLike: TypeAlias = str | Path | bytes | NDArray[np.uint8] | Image.Image
"""A path, an encoded file's bytes, pixels `(h, w, 3)` or `(h, w)`, or a Pillow image."""


def as_list(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    """One photo or many as a list; an array `(n, h, w, 3)` is `n` photos.

    Raises:
        DataError: it is nothing that could be photos.
    """
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | Path | bytes | Image.Image):
        return [images]
    if isinstance(images, Sequence) and not isinstance(images, bytes):
        return list(images)
    raise DataError(
        f"predict() got {type(images).__name__}; it takes a path, bytes, an array, "
        "a Pillow image, or a list of these."
    )


def decode_all(
    images: Sequence[ImageLike], preprocessing: Preprocessing, *, batch_size: int, threads: int
) -> Iterator[tuple[list[int], NDArray[np.uint8], dict[int, str]]]:
    """Decode photos in batches, in order, by the one `decode` that training uses.

    Yields:
        row numbers of the photos that could be read; their pixels `(n, size, size, 3)`; and the
        reason for each row that could not.
    """

    def attempt(image: ImageLike) -> NDArray[np.uint8] | str:
        try:
            return _pixels(image, preprocessing)
        except DataError as error:
            return str(error)

    starts = range(0, len(images), batch_size)
    with ThreadPoolExecutor(threads) as pool:
        batches = (pool.map(attempt, images[start : start + batch_size]) for start in starts)
        # One batch is decoded while the caller computes the one before.
        ahead = next(batches, None)
        for start in starts:
            assert ahead is not None
            results, ahead = list(ahead), next(batches, None)
            good = [(start + i, r) for i, r in enumerate(results) if not isinstance(r, str)]
            bad = {start + i: r for i, r in enumerate(results) if isinstance(r, str)}
            empty = np.empty((0, preprocessing.size, preprocessing.size, 3), np.uint8)
            pixels = np.stack([image for _, image in good]) if good else empty
            yield [row for row, _ in good], pixels, bad


def _pixels(image: ImageLike, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """One photo as uint8 `(size, size, 3)`."""
    if isinstance(image, bytes):
        return decode(image, preprocessing)
    if isinstance(image, str | Path):
        return decode(Path(image), preprocessing)
    if isinstance(image, np.ndarray):
        return fit_image(_from_array(image), preprocessing)
    if not isinstance(image, Image.Image):
        raise DataError(f"{type(image).__name__} is not a photo.")
    encoded = _unread_jpeg(image)
    if encoded is not None:
        return decode(encoded, preprocessing)
    try:
        return fit_image(image, preprocessing)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"The Pillow image cannot be read: {error}.") from error


def _from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    shape_fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not shape_fits or 0 in pixels.shape:
        raise DataError(
            f"An array of {pixels.dtype} with shape {pixels.shape} is not a photo; "
            "give uint8 (height, width, 3) in RGB."
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def _unread_jpeg(image: Image.Image) -> bytes | None:
    """The file behind a JPEG that was opened but not read yet.

    From the file it is decoded straight at the size needed, as in training, and the caller's
    image is left as it is.
    """
    if not isinstance(image, JpegImageFile) or image.fp is None or not image.tile:
        return None
    where = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(where)
    return content
