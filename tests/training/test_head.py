"""Heads on cached features: against scikit-learn, and on awkward data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler, normalize

from houndsight.errors import DataError, SettingError
from houndsight.training.head import FittedHead, HeadFitter, HeadParameters, fit_head_sgd, fit_heads
from houndsight.training.heads import space


def make_photos(
    count: int = 300, width: int = 24, classes: int = 6, *, spread: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Features like a backbone's, not negative, and labels; every class has its photos."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centers = np.random.default_rng(99).normal(size=(classes, width))
    noise = generator.normal(size=(count, width)) * np.linspace(2, 0.2, width) * spread
    return np.maximum(centers[labels] + noise, 0).astype(np.float32) + 0.1, labels


def log_loss(fitted: FittedHead, features: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy without temperature."""
    logits = fitted.logits(features)
    return float(torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels)))


@pytest.mark.parametrize("weight_decay", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("normalise", ["none", "l2", "standardise"])
def test_agrees_with_scikit_learn(weight_decay: float, normalise: str) -> None:
    features, labels = make_photos()
    parameters = HeadParameters(weight_decay=weight_decay, normalise=normalise)
    ours = fit_heads(features, labels, [parameters], 6)[0]
    rows = {
        "none": lambda x: x,
        "l2": normalize,
        "standardise": lambda x: StandardScaler().fit_transform(x),
    }[normalise](features.astype(np.float64))
    reference = LogisticRegression(C=1 / (weight_decay * len(labels)), max_iter=5000, tol=1e-8)
    reference.fit(rows, labels)
    expected = reference.predict_log_proba(rows)

    def objective(log_probabilities: np.ndarray, weights: np.ndarray) -> float:
        chosen = log_probabilities[np.arange(len(labels)), labels]
        return float(-chosen.mean() + weight_decay / 2 * (weights**2).sum())

    found = torch.log_softmax(ours.logits(features), dim=1).numpy()
    best = objective(expected, reference.coef_)
    assert objective(found, ours.weight.numpy()) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("normalise", ["none", "l2", "standardise"])
def test_the_module_computes_the_same_logits(normalise: str) -> None:
    features, labels = make_photos()
    fitted = fit_heads(features, labels, [HeadParameters(normalise=normalise)], 6)[0]
    with torch.no_grad():
        logits = fitted.head(torch.from_numpy(features))
    torch.testing.assert_close(logits, fitted.logits(features), rtol=1e-4, atol=1e-4)


def test_a_head_does_not_depend_on_what_was_fitted_before() -> None:
    features, labels = make_photos()
    parameters = [
        HeadParameters(weight_decay=w, shrinkage=s)
        for w, s in ((1e-2, 0.5), (1e-4, 1.0), (1e-3, 0.8))
    ]
    forwards = fit_heads(features, labels, parameters, 6)
    backwards = fit_heads(features, labels, parameters[::-1], 6)[::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert torch.equal(one.weight, other.weight)
        assert torch.equal(one.bias, other.bias)


def test_validation_figures_come_after_temperature() -> None:
    features, labels = make_photos(spread=3.0)
    valid = make_photos(spread=3.0, seed=1)
    fitted = fit_heads(features, labels, [HeadParameters(weight_decay=1e-5)], 6, valid=valid)[0]
    logits = fitted.logits(valid[0]) / fitted.temperature
    loss = float(torch.nn.functional.cross_entropy(logits, torch.as_tensor(valid[1])))
    assert fitted.metrics["nll"] == pytest.approx(loss, rel=1e-3)
    assert fitted.metrics["nll"] < log_loss(fitted, *valid)
    assert fitted.temperature > 1


def test_label_smoothing_makes_a_head_less_sure() -> None:
    features, labels = make_photos()
    plain, smooth = fit_heads(
        features, labels, [HeadParameters(label_smoothing=s) for s in (0.0, 0.2)], 6
    )
    sure = [torch.softmax(h.logits(features), 1).amax(1).mean() for h in (plain, smooth)]
    assert sure[1] < sure[0] - 0.05


def test_shrinkage_helps_where_classes_spread_unevenly() -> None:
    features, labels = make_photos(240, 60, spread=2.0)
    valid = make_photos(1200, 60, spread=2.0, seed=1)
    fits = fit_heads(
        features,
        labels,
        [HeadParameters(weight_decay=0.1, shrinkage=s) for s in (0.3, 1.0)],
        6,
        valid=valid,
    )
    assert fits[0].metrics["nll"] < fits[1].metrics["nll"]


def test_probes_order_hyperparameters_as_full_fits_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("houndsight.training.heads.prepared.PROBE_RANK", 12)
    features, labels = make_photos(width=40)
    fitter = HeadFitter(features, labels, 6, valid=make_photos(width=40, seed=1))
    tried = [HeadParameters(weight_decay=w) for w in (10.0, 1e-1, 1e-3)]
    probes = [fitter.probe(each).metrics["nll"] for each in tried]
    fits = [fitter.fit(each).metrics["nll"] for each in tried]
    assert np.argsort(probes).tolist() == np.argsort(fits).tolist()
    assert probes != fits


def imbalanced() -> tuple[np.ndarray, np.ndarray]:
    features, labels = make_photos(2000, 8, 2, spread=4.0)
    keep = (labels == 0) | (np.arange(len(labels)) % 20 == 1)
    return features[keep], labels[keep]


@pytest.mark.parametrize("balance", ["weights", "sampling", "logit_adjustment"])
def test_balance_lifts_the_rare_class(balance: str) -> None:
    features, labels = imbalanced()
    plain, balanced = fit_heads(
        features,
        labels,
        [HeadParameters(weight_decay=1e-3, balance=b) for b in ("none", balance)],
        2,
        valid=make_photos(1000, 8, 2, spread=4.0, seed=1),
    )
    assert balanced.metrics["balanced_accuracy"] > plain.metrics["balanced_accuracy"] + 0.05


def test_strength_zero_is_no_balance() -> None:
    features, labels = imbalanced()
    plain, weights, adjusted = fit_heads(
        features,
        labels,
        [
            HeadParameters(balance=b, balance_strength=0.0)
            for b in ("none", "weights", "logit_adjustment")
        ],
        2,
    )
    torch.testing.assert_close(weights.weight, plain.weight)
    torch.testing.assert_close(adjusted.weight, plain.weight)


def test_rows_that_are_not_finite_are_refused_with_their_number() -> None:
    features, labels = make_photos()
    features[[3, 7], 0] = np.nan, np.inf
    with pytest.raises(DataError, match="2 of 300 photos"):
        fit_heads(features, labels, [HeadParameters()], 6)


def test_rows_and_labels_must_fit_together() -> None:
    features, labels = make_photos()
    with pytest.raises(DataError, match="300 feature rows and 299 labels"):
        fit_heads(features, labels[1:], [HeadParameters()], 6)
    with pytest.raises(DataError, match="between 0 and 4"):
        fit_heads(features, labels, [HeadParameters()], 5)
    with pytest.raises(DataError, match="no training photos"):
        fit_heads(features[:0], labels[:0], [HeadParameters()], 6)
    with pytest.raises(SettingError, match="normalise"):
        HeadParameters(normalise="whiten")


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("normalise", ["none", "l2", "standardise"])
def test_awkward_photos(normalise: str, shrinkage: float) -> None:
    """A class with one photo, one with none, constant features and a large one."""
    features, labels = make_photos(40, 100, 4)
    labels[labels == 3] = 0
    labels[0] = 3
    features[:, :5], features[:, 5] = 7.0, 0.0
    features[:, 6] *= 30
    parameters = HeadParameters(weight_decay=1e-4, normalise=normalise, shrinkage=shrinkage)
    fitted = fit_heads(features, labels, [parameters], 5)[0]
    logits = fitted.logits(features)
    assert bool(torch.isfinite(logits).all())
    assert float((logits.argmax(1).numpy() == labels).mean()) > 0.8


def test_photos_that_are_all_the_same() -> None:
    features = np.ones((10, 16), np.float32)
    labels = np.array([0] * 8 + [1] * 2)
    fitted = fit_heads(features, labels, [HeadParameters()], 2)[0]
    shares = torch.softmax(fitted.logits(features), 1)[0]
    assert shares.tolist() == pytest.approx([0.8, 0.2], abs=0.01)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(2, 40),
    width=st.integers(1, 60),
    classes=st.integers(2, 50),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    weight_decay=st.sampled_from([0.0, 1e-8, 1e-3, 1e3]),
    shrinkage=st.floats(0, 1),
    balance=st.sampled_from(["none", "weights", "sampling", "logit_adjustment"]),
    seed=st.integers(0, 99),
)
def test_any_shape_gives_finite_weights(
    count: int,
    width: int,
    classes: int,
    scale: float,
    weight_decay: float,
    shrinkage: float,
    balance: str,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    features = (generator.normal(size=(count, width)) * scale).astype(np.float32)
    labels = generator.integers(0, classes, count)
    parameters = HeadParameters(weight_decay=weight_decay, shrinkage=shrinkage, balance=balance)
    fitted = fit_heads(features, labels, [parameters], classes, valid=(features, labels))[0]
    assert bool(torch.isfinite(fitted.weight).all())
    assert bool(torch.isfinite(fitted.bias).all())
    assert np.isfinite(fitted.metrics["nll"])


def test_a_memory_map_of_half_floats_is_streamed(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("houndsight.training.heads.normalisation.BLOCK_ROWS", 64)
    features, labels = make_photos()
    mapped = np.memmap(f"{tmp_path}/features", np.float16, "w+", shape=features.shape)
    mapped[:] = features
    streamed = fit_heads(mapped, labels, [HeadParameters(weight_decay=1e-3)], 6)[0]
    whole = fit_heads(features, labels, [HeadParameters(weight_decay=1e-3)], 6)[0]
    assert log_loss(streamed, features, labels) == pytest.approx(
        log_loss(whole, features, labels), rel=1e-2
    )


def test_of_very_many_photos_a_part_is_used_with_every_class_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space, "MOST_ROWS", 500)
    features, labels = make_photos(3000)
    labels[labels == 5] = 4
    labels[:3] = 5
    prepared = space.FeatureSpace.fit(features, torch.as_tensor(labels), 6, "none")
    assert prepared.rows.shape[0] == 500
    kept = np.bincount(labels[prepared.chosen.numpy()], minlength=6)
    assert kept[5] == 3
    assert kept.min() == 3
    fitted = fit_heads(features, labels, [HeadParameters(weight_decay=1e-3)], 6)[0]
    assert float((fitted.logits(features).argmax(1).numpy() == labels).mean()) > 0.8


def test_the_subspace_method_finds_the_leading_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "RANK", 20)
    features, labels = make_photos(400, 200)
    prepared = space.FeatureSpace.fit(features, torch.as_tensor(labels), 6, "none")
    covariance = np.cov(features.T.astype(np.float64), bias=True)
    best = np.linalg.eigvalsh(covariance)[::-1][:20]
    assert float(prepared.variances.sum()) > 0.98 * best.sum()
    rows = prepared.rows.double()
    found = rows.T @ rows / len(rows)
    torch.testing.assert_close(found, torch.diag(prepared.variances.double()), atol=1e-4, rtol=1e-3)


def test_sgd_learns_and_repeats() -> None:
    features, labels = make_photos()
    valid = make_photos(seed=1)

    def fit(seed: int) -> FittedHead:
        return fit_head_sgd(
            features, labels, 6, learning_rate=0.05, batch_size=32, valid=valid, seed=seed
        )

    assert fit(0).metrics["top1"] > 0.8
    assert torch.equal(fit(0).weight, fit(0).weight)
    assert not torch.equal(fit(0).weight, fit(1).weight)


def test_sgd_balances_by_sampling() -> None:
    features, labels = imbalanced()
    valid = make_photos(1000, 8, 2, spread=4.0, seed=1)
    plain, balanced = (
        fit_head_sgd(
            features,
            labels,
            2,
            learning_rate=0.05,
            batch_size=32,
            parameters=HeadParameters(weight_decay=0.0, balance=balance),
            valid=valid,
        )
        for balance in ("none", "sampling")
    )
    assert balanced.metrics["balanced_accuracy"] > plain.metrics["balanced_accuracy"]
