"""What the generated data sets share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Images", "Labels", "coloured", "halved", "noisy"]

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def halved(images: Images, labels: Labels, part: str) -> tuple[Images, Labels]:
    """All classes, the lower half of them, or the upper half numbered from 0."""
    if part == "scratch":
        return images, labels
    middle = (int(labels.max()) + 1) // 2
    kept = labels < middle if part == "source" else labels >= middle
    chosen = labels[kept]
    return images[kept], chosen - chosen.min()


def coloured(grey: npt.NDArray[np.floating]) -> Images:
    """(n, s, s) greys as (n, 3, s, s)."""
    return np.repeat(np.asarray(grey, np.float32)[:, None], 3, axis=1)


def noisy(images: npt.NDArray[np.uint8], random: np.random.Generator) -> Images:
    """(n, s, s, 3) bytes as (n, 3, s, s) in 0 to 1, lighter or darker, under noise."""
    values = images.transpose(0, 3, 1, 2) / 255 + random.normal(
        0, 0.05, (*images.shape[:1], 1, 1, 1)
    )
    values = values + random.normal(0, 0.04, values.shape)
    return np.clip(values, 0, 1).astype(np.float32)
