import numpy as np
import pytest

from houndsight.errors import DataError
from houndsight.training.calibrate import fit_isotonic, fit_temperature, fit_vector_scaling
from houndsight.training.metrics import (
    evaluate_logits,
    evaluate_probabilities,
    negative_log_likelihood,
    softmax,
)


def _overconfident(count: int = 1500, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits `scale` times too large for the labels drawn from them."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(count, 5)) * 2
    cumulative = softmax(logits).cumsum(1)
    labels = (random.random((count, 1)) > cumulative).sum(1).clip(0, 4)
    return logits * scale, labels


def test_temperature_finds_the_factor_that_was_put_in() -> None:
    logits, labels = _overconfident()
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(3.0, rel=0.1)
    before, after = (evaluate_logits(logits, labels, temperature=t) for t in (1.0, temperature))
    assert after["ece"] < before["ece"] / 3 and after["top1"] == before["top1"]


def test_temperature_is_the_minimum_of_the_loss() -> None:
    logits, labels = _overconfident()
    best = fit_temperature(logits, labels)
    losses = [negative_log_likelihood(softmax(logits, best * f), labels) for f in (0.97, 1.0, 1.03)]
    assert losses[1] == min(losses)


def test_a_model_that_is_always_right_keeps_a_sane_temperature() -> None:
    labels = np.arange(30) % 3
    temperature = fit_temperature(4.0 * np.eye(3)[labels], labels)
    assert 0.2 < temperature < 3
    assert softmax(4.0 * np.eye(3)[labels], temperature).max() < 0.9999


def test_shifting_a_row_changes_nothing() -> None:
    logits, labels = _overconfident(200)
    moved = logits + np.random.default_rng(1).normal(size=(200, 1)) * 100
    assert fit_temperature(moved, labels) == pytest.approx(
        fit_temperature(logits, labels), rel=1e-3
    )


@pytest.mark.parametrize("fit", [fit_vector_scaling, fit_isotonic])
def test_the_other_calibrators_improve_an_overconfident_model(fit: object) -> None:
    logits, labels = _overconfident()
    half = len(labels) // 2
    calibrated = fit(logits[:half], labels[:half])(logits[half:])  # type: ignore[operator]
    assert np.allclose(calibrated.sum(1), 1)
    before = evaluate_logits(logits[half:], labels[half:])
    after = evaluate_probabilities(calibrated, labels[half:])
    assert after["nll"] < before["nll"] and after["ece"] < before["ece"]


def test_vector_scaling_undoes_a_biased_class() -> None:
    logits, labels = _overconfident(scale=1.0)
    biased = logits + np.array([3.0, 0, 0, 0, 0])
    after = evaluate_probabilities(fit_vector_scaling(biased, labels)(biased), labels)
    assert after["nll"] < evaluate_logits(biased, labels)["nll"] - 0.3


def test_bad_input_gets_a_sentence() -> None:
    with pytest.raises(DataError, match="empty"):
        fit_temperature(np.empty((0, 3)), np.empty(0, int))
    with pytest.raises(DataError, match="finite"):
        fit_temperature(np.array([[np.nan, 1.0]]), np.array([0]))
