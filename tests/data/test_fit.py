"""How photos are made square."""

from __future__ import annotations

import numpy as np
import pytest

from houndsight.data.decode import Preprocessing
from houndsight.data.fit import choose_fit, preprocessing_for
from houndsight.data.settings import DataSettings

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


def test_settings_win_over_shapes() -> None:
    default = Preprocessing(size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    settings = DataSettings(fit="letterbox", size=160)
    chosen, _ = preprocessing_for(default, settings, np.array([64]), np.array([64]))
    assert (chosen.fit, chosen.size, chosen.mean) == ("letterbox", 160, default.mean)
