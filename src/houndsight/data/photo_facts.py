"""What is measured of one photo: everything the checks need, from one reading of its file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from houndsight.data.decode import MAX_PIXELS, explained, open_photo, read_photo, to_grey
from houndsight.data.photo_error import PhotoError
from houndsight.data.quiet import pillow_quiet
from houndsight.data.signature import make_signature

__all__ = ["FACTS_VERSION", "PhotoFacts", "measure"]

FACTS_VERSION = 1
"""Counts up whenever `measure` would say something else of the same photo."""

_EDGE = 192
"""Shorter side, px, of the version that is measured: near what networks see, and reached by
decoding a JPEG at a quarter of its size."""


class PhotoFacts(NamedTuple):
    """Facts of one photo. With an `error`, only those known before it was met are there."""

    hash: str | None = None
    """BLAKE2b-128 of the file's bytes, hexadecimal."""
    size_bytes: int = 0
    width: int = 0
    """px, as stored (before EXIF orientation)."""
    height: int = 0
    format: str = ""
    brightness: float = 0.0
    """Mean luma, 0 to 255."""
    contrast: float = 0.0
    """Standard deviation of the luma of a 32 x 32 version."""
    sharpness: float = 0.0
    """Variance of the Laplacian at a shorter side of at most 192 px, over the luma's variance."""
    signature: bytes | None = None
    """See `houndsight.data.signature`."""
    error: str | None = None
    """`kind: detail` when the photo cannot be decoded."""


def measure(path: Path, *, max_pixels: int = MAX_PIXELS) -> PhotoFacts:
    """The facts of the photo at `path`; what is wrong with it is one of them."""
    content = b""
    known = PhotoFacts()
    try:
        content = read_photo(path, max_pixels=max_pixels)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        known = known._replace(hash=digest, size_bytes=len(content))
        with pillow_quiet():
            image = open_photo(content, max_pixels=max_pixels)
            size = image.size
            known = known._replace(width=size[0], height=size[1], format=image.format or "")
            return _measured(known, to_grey(image, _EDGE))
    except PhotoError as error:
        return known._replace(error=error.text)
    except Exception as error:
        return known._replace(error=explained(error, content).text)


def _measured(known: PhotoFacts, small: Image.Image) -> PhotoFacts:
    luma = np.asarray(small, np.float32)
    thumbnail = np.asarray(small.resize((32, 32), Image.Resampling.BILINEAR))
    return known._replace(
        brightness=float(luma.mean()),
        contrast=float(thumbnail.std()),
        sharpness=_sharpness(luma),
        signature=make_signature(thumbnail),
    )


def _sharpness(luma: np.ndarray) -> float:
    """Variance of the Laplacian relative to that of the picture; 0 for tiny or flat ones.

    The variance of the Laplacian is the usual measure of focus (Pech-Pacheco et al., "Diatom
    autofocusing in brightfield microscopy", 2000); dividing makes it one of focus alone, where
    the variance by itself is also low for a sharp photo of little contrast.
    """
    if min(luma.shape) < 3 or luma.var() < 1:
        return 0.0
    middle = luma[1:-1, 1:-1]
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float((around - 4 * middle).var() / luma.var())
