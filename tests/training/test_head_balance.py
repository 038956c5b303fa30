"""What treatments of imbalance do to weights and offsets."""

from __future__ import annotations

import pytest
import torch

from houndsight.errors import SettingError
from houndsight.training.heads.balance import Balance

LABELS = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)


def by_class(weights: torch.Tensor) -> list[float]:
    return torch.zeros(3).index_add(0, LABELS, weights).tolist()


def test_nothing_weighs_photos_alike() -> None:
    balance = Balance.of("none", 1.0, LABELS, 3)
    assert by_class(balance.row_weights) == pytest.approx([0.6, 0.3, 0.1])
    assert balance.offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", ["weights", "sampling"])
def test_classes_weigh_alike(kind: str) -> None:
    balance = Balance.of(kind, 1.0, LABELS, 3)
    assert by_class(balance.row_weights) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_half_the_strength_lies_between() -> None:
    balance = Balance.of("weights", 0.5, LABELS, 3)
    shares = torch.tensor([0.6, 0.3, 0.1]).sqrt()
    assert by_class(balance.row_weights) == pytest.approx((shares / shares.sum()).tolist())


def test_sampling_draws_photos_of_a_class_almost_equally_often() -> None:
    weights = Balance.of("sampling", 1.0, LABELS, 3, seed=3).row_weights * len(LABELS)
    for label in range(3):
        drawn = weights[label == LABELS]
        assert float(drawn.max() - drawn.min()) <= 1.01
    even = Balance.of("sampling", 1.0, torch.arange(40) % 4, 4)
    assert even.row_weights.tolist() == pytest.approx([1 / 40] * 40)


def test_logit_adjustment_adds_log_shares() -> None:
    offsets = Balance.of("logit_adjustment", 2.0, LABELS, 3).offsets
    assert offsets.tolist() == pytest.approx((2 * torch.tensor([0.6, 0.3, 0.1]).log()).tolist())


def test_an_unknown_treatment_is_refused() -> None:
    with pytest.raises(SettingError, match="must be one of none, weights"):
        Balance.of("smote", 1.0, LABELS, 3)
