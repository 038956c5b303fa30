"""How photos are made square."""

from __future__ import annotations

import numpy as np
import pytest

from houndsight.data.decode import Preprocessing
from houndsight.data.fit import choose_fit, fitted

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("widths", "heights", "fit"),
    [
        ([224] * 9, [224] * 9, "squash"),
        ([640] * 9, [480] * 9, "squash"),
        ([640, 480, 500, 640, 600], [480, 640, 500, 427, 450], "crop"),
        ([1000, 900, 300, 250], [300, 250, 1000, 900], "letterbox"),
        ([], [], "crop"),
    ],
)
def test_the_fit_follows_the_shapes(widths: list[int], heights: list[int], fit: str) -> None:
    assert choose_fit(np.array(widths), np.array(heights))[0] == fit


def test_only_a_crop_keeps_the_backbones_margin() -> None:
    own = Preprocessing(size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    boxed = fitted(own, fit="letterbox", size=160)
    assert (boxed.fit, boxed.size, boxed.crop_fraction) == ("letterbox", 160, 1.0)
    assert fitted(own, fit="crop").crop_fraction == own.crop_fraction
    assert boxed.mean == own.mean
