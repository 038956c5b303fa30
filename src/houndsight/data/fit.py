"""How photos are made square and how large: a choice that training and serving share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from houndsight.data.decode import Preprocessing

__all__ = ["choose_fit", "fitted"]

NEARLY_SQUARE = 1.05
"""Up to this aspect ratio nothing visible is lost by squashing."""
LONG = 1.8
"""From this aspect ratio a centre crop throws away 44 % of a photo: it is letterboxed instead."""
SIMILAR = 1.15
"""Photos whose aspect ratios all lie within this factor of each other change alike when
squashed, so that nothing is lost and nothing is confused."""


def choose_fit(widths: np.ndarray, heights: np.ndarray) -> tuple[str, str]:
    """`crop`, `squash` or `letterbox` for photos of these sizes `(n,)`, and a sentence why."""
    ratios = np.asarray(widths, float) / np.maximum(np.asarray(heights, float), 1)
    if len(ratios) == 0:
        return "crop", "No sizes are known, so photos are cropped to the centre."
    elongation = np.maximum(ratios, 1 / ratios)
    low, middle, high = np.quantile(ratios, [0.05, 0.5, 0.95])
    if np.quantile(elongation, 0.95) <= NEARLY_SQUARE:
        return "squash", "The photos are square, so they are only scaled."
    if np.median(elongation) >= LONG:
        return "letterbox", (
            f"Half of the photos are {np.median(elongation):.1f} times as long as wide or more, "
            "so borders are added and nothing is cut off."
        )
    if high / low <= SIMILAR:
        return "squash", (
            f"All photos have nearly the same shape ({middle:.2f} times as wide as high), "
            "so they are squashed and nothing is cut off."
        )
    return "crop", "The photos differ in shape, so the centre is cropped."


def fitted(backbone: Preprocessing, *, fit: str, size: int | None = None) -> Preprocessing:
    """A backbone's own preprocessing with this fit, and this size (px) instead of its own.

    Squashed and letterboxed photos are seen whole; only a crop keeps the backbone's margin.
    """
    return replace(
        backbone,
        fit=fit,
        size=size or backbone.size,
        crop_fraction=backbone.crop_fraction if fit == "crop" else 1.0,
    )
