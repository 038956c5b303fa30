"""A photo's small signature, made so that near-duplicates can be found among a million.

The low frequencies of a 32 x 32 greyscale version (discrete cosine transform, as in pHash:
Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), kept as
small integers instead of signs. Whoever compares can then take away what all photos of a set
share, such as the frame and the bars of every solar cell, before anything is called a duplicate.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LENGTH", "MIRROR", "make_signature"]

_EDGE = 32
LENGTH = 256
"""Coefficients in a signature."""


def _cosines() -> np.ndarray:
    """The orthonormal DCT-II matrix `(32, 32)`."""
    rows = np.arange(_EDGE)
    matrix = np.sqrt(2 / _EDGE) * np.cos(np.pi * rows[:, None] * (2 * rows + 1) / (2 * _EDGE))
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix, np.float32)


def _order() -> np.ndarray:
    """The lowest frequencies but the mean, `(LENGTH,)` positions in the flat spectrum."""
    down, across = np.divmod(np.arange(_EDGE * _EDGE), _EDGE)
    ranked = np.lexsort((np.abs(down - across), down + across))
    return np.asarray(ranked[1 : LENGTH + 1])


_DCT = _cosines()
_ORDER = _order()

MIRROR: np.ndarray = np.where(_ORDER % _EDGE % 2 == 1, -1, 1).astype(np.int8)
"""A signature times this is the signature of the photo mirrored left to right: cosines of odd
horizontal frequency are odd about the middle."""


def make_signature(grey: np.ndarray) -> bytes:
    """The signature of a greyscale `(32, 32)` picture: `LENGTH` signed bytes.

    Coefficients are divided by the sum of their magnitudes, so that contrast does not matter,
    and their square root is kept, so that small ones survive the rounding.
    """
    spectrum = (_DCT @ grey.astype(np.float32) @ _DCT.T).ravel()[_ORDER]
    share = np.abs(spectrum) / max(float(np.abs(spectrum).sum()), 1e-6)
    values = np.rint(400 * np.sqrt(share)).clip(0, 127) * np.sign(spectrum)
    return bytes(values.astype(np.int8).tobytes())
