import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional.classification import multiclass_calibration_error

from houndsight.errors import DataError
from houndsight.training.metrics import (
    confusion_matrix,
    evaluate_logits,
    evaluate_probabilities,
    per_class,
    reliability_bins,
    softmax,
    top_k_accuracy,
    wilson_interval,
)


def _some(count: int = 200, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return softmax(logits), labels


def test_figures_agree_with_scikit_learn_and_torchmetrics() -> None:
    probabilities, labels = _some()
    predicted, figures = probabilities.argmax(1), evaluate_probabilities(probabilities, labels)
    assert figures["top1"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert figures["top5"] == pytest.approx(
        sklearn_metrics.top_k_accuracy_score(labels, probabilities, k=5)
    )
    assert figures["macro_f1"] == pytest.approx(
        sklearn_metrics.f1_score(labels, predicted, average="macro")
    )
    assert figures["balanced_accuracy"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predicted)
    )
    assert figures["nll"] == pytest.approx(sklearn_metrics.log_loss(labels, probabilities))
    assert figures["ece"] == pytest.approx(
        multiclass_calibration_error(
            torch.tensor(probabilities), torch.tensor(labels), num_classes=7, n_bins=15
        ).item(),
        abs=1e-6,
    )
    squares = ((probabilities - np.eye(7)[labels]) ** 2).sum(1).mean()
    assert figures["brier"] == pytest.approx(squares)
    assert figures["count"] == 200


def test_a_class_without_photos_is_left_out_of_means() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    figures = evaluate_probabilities(probabilities, np.array([0, 1]))
    assert figures["macro_f1"] == figures["balanced_accuracy"] == 1.0


def test_a_probability_of_zero_for_the_right_class_gives_a_finite_loss() -> None:
    figures = evaluate_probabilities(np.array([[1.0, 0.0]]), np.array([1]))
    assert np.isfinite(figures["nll"]) and figures["top1"] == 0


def test_top5_of_three_classes_is_one_and_ties_follow_argmax() -> None:
    even = np.full((4, 3), 1 / 3)
    labels = np.array([0, 1, 2, 0])
    assert top_k_accuracy(even, labels, 5) == 1.0
    assert top_k_accuracy(even, labels, 1) == (even.argmax(1) == labels).mean()


def test_no_photos_is_an_error_with_a_sentence() -> None:
    with pytest.raises(DataError, match="no photos"):
        evaluate_probabilities(np.empty((0, 3)), np.empty(0, int))


def test_confusion_matrix_and_per_class_table() -> None:
    probabilities = np.eye(3)[[0, 1, 1, 1, 2]]
    labels = np.array([0, 0, 0, 1, 2])
    assert confusion_matrix(probabilities.argmax(1), labels, 3).tolist() == [
        [1, 2, 0],
        [0, 1, 0],
        [0, 0, 1],
    ]
    first, second, third = per_class(probabilities, labels)
    assert (first.support, first.predicted, first.confused_with) == (3, 1, 1)
    assert first.recall == pytest.approx(1 / 3) and first.precision == 1
    assert second.precision == pytest.approx(1 / 3) and second.confused_with is None
    assert third.f1 == 1


def test_reliability_bins_hold_every_photo() -> None:
    probabilities, labels = _some()
    bins = reliability_bins(probabilities, labels)
    assert sum(b.count for b in bins) == len(labels)
    assert [b.confidence for b in bins] == sorted(b.confidence for b in bins)


def test_temperature_of_evaluate_logits_changes_the_loss_and_not_the_ranking() -> None:
    logits = np.log(_some()[0])
    labels = _some()[1]
    sharp = evaluate_logits(logits, labels, temperature=0.1)
    plain = evaluate_logits(logits, labels)
    assert sharp["top1"] == plain["top1"] and sharp["nll"] > plain["nll"]


def test_wilson_interval_of_a_textbook_case() -> None:
    assert wilson_interval(0.5, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert wilson_interval(1.0, 10)[1] == 1.0 and wilson_interval(0.0, 0) == (0.0, 1.0)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_wilson_interval_holds_the_share(correct: int, count: int) -> None:
    share = min(correct, count) / count
    low, high = wilson_interval(share, count)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1
