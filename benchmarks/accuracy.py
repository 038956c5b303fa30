"""Claim: the head that the search finds is better than the best of logistic regression, ridge
with leave-one-out and LDA with shrinkage, each tuned on the same validation photos.

All 50 photos of each of the 120 breeds are split anew for every seed: 32 to train on, 8 to
validate on, 10 to test on. Both sides get the same features, train on the same photos, choose on
the same validation photos and are judged once on the test photos:

- houndsight: `search_heads` with its defaults (20 trials), then temperature scaling;
- baseline: scikit-learn's `LogisticRegression` over C, its `RidgeClassifierCV` (leave-one-out
  over alpha), and LDA over shrinkage (as its `LinearDiscriminantAnalysis` with `solver="lsqr"`,
  but with the covariance computed once), each with the features' length left in and divided out;
  for top-1 and macro-F1 the one with the best validation top-1 counts, for the
  loss the one with the least validation loss, with that of temperature, vector and isotonic
  calibration (fitted on the validation photos) which does best on the test photos.

    python benchmarks/accuracy.py [--quick] [--seeds 10] [--backbones resnet50 efficientnet_lite0]
                                  [--photos DIR] [--weights FILE] [--cache DIR]
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from _common import (
    DOGS,
    RESNET50,
    SEEN,
    Table,
    cached_features,
    corrected_interval,
    machine,
    open_dogs,
    there,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from threadpoolctl import threadpool_limits

from houndsight.errors import WeightsError
from houndsight.models.backbone import Backbone, load_backbone
from houndsight.models.features import FeatureCache
from houndsight.training.calibrate import fit_isotonic, fit_temperature, fit_vector_scaling
from houndsight.training.metrics import evaluate_probabilities, softmax
from houndsight.tuning.heads import search_heads
from houndsight.tuning.settings import TuningSettings

PARTS = (32, 8, 10)
"""Photos of a breed to train, validate and test on."""
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
ALPHAS = tuple(float(alpha) for alpha in np.logspace(-3, 2, 16))
SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9)
METRICS = ("top1", "macro_f1", "nll")

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sides:
    """Test figures of one split."""

    ours: dict[str, float]
    baseline: dict[str, float]
    chosen: str
    """The baseline with the best validation top-1."""


@dataclass(frozen=True)
class Fold:
    """Features and labels of one split of the photos."""

    train: tuple[Floats, Labels]
    valid: tuple[Floats, Labels]
    test: tuple[Floats, Labels]
    classes: int


def main() -> None:
    """Every backbone in turn; for each, both sides on every split."""
    arguments = _arguments()
    if not there(arguments.photos, arguments.weights):
        return
    warnings.filterwarnings("ignore", module="sklearn")
    torch.set_num_threads(arguments.threads)
    threadpool_limits(arguments.threads)
    photos = open_dogs(arguments.photos, *((6, 40) if arguments.quick else (None, None)))
    labels = np.asarray(photos.all().labels)
    print(f"{len(photos):,} photos, {len(np.unique(labels))} breeds, {PARTS[0]} to train,")
    print(f"{PARTS[1]} to validate and {PARTS[2]} to test on of each, {arguments.seeds} splits")
    print(f"(seeds 0 to {arguments.seeds - 1}), {machine()}.")
    print(SEEN)
    with tempfile.TemporaryDirectory(prefix="houndsight-accuracy-") as folder:
        cache = FeatureCache(arguments.cache or Path(folder))
        for name in arguments.backbones:
            backbone = _backbone(name, arguments.weights)
            if backbone is None:
                continue
            features = cached_features(cache, backbone, photos)
            folds = [_fold(features, labels, seed) for seed in range(arguments.seeds)]
            _report(name, [_both(fold, seed) for seed, fold in enumerate(folds)])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=DOGS)
    parser.add_argument("--weights", type=Path, default=RESNET50, help="of the ResNet-50")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--backbones", nargs="+", default=["resnet50", "efficientnet_lite0"])
    parser.add_argument("--cache", type=Path, help="where features are kept for another run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="6 breeds, 2 splits: a smoke test")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.backbones = 2, arguments.backbones[:1]
    return arguments


def _backbone(name: str, weights: Path) -> Backbone | None:
    try:
        return load_backbone(name, weights=weights if name == "resnet50" else None)
    except WeightsError as error:
        print(f"\n{name} skipped: {error}")
        return None


def _fold(features: Floats, labels: Labels, seed: int) -> Fold:
    random = np.random.default_rng(seed)
    parts: list[list[Labels]] = [[], [], []]
    for label in range(int(labels.max()) + 1):
        order = random.permutation(np.flatnonzero(labels == label))
        for part, chosen in zip(parts, np.split(order, np.cumsum(PARTS)), strict=False):
            part.append(chosen)
    train, valid, test = (np.concatenate(part) for part in parts)
    return Fold(
        (features[train], labels[train]),
        (features[valid], labels[valid]),
        (features[test], labels[test]),
        int(labels.max()) + 1,
    )


def _both(fold: Fold, seed: int) -> Sides:
    settings = TuningSettings(seed=seed)
    found = search_heads(*fold.train, fold.classes, valid=fold.valid, settings=settings).fitted
    logits = found.logits(fold.test[0]).numpy()
    ours = evaluate_probabilities(softmax(logits, found.temperature), fold.test[1])
    accurate, likely = _Best("top1", 1.0), _Best("nll", -1.0)
    for name, valid, test in _baselines(fold):
        temperature = fit_temperature(valid, fold.valid[1])
        figures = evaluate_probabilities(softmax(valid, temperature), fold.valid[1])
        accurate.offer(figures, name, valid, test)
        likely.offer(figures, name, valid, test)
    baseline = evaluate_probabilities(softmax(accurate.test), fold.test[1])
    baseline["nll"] = min(_calibrated_losses(likely.valid, likely.test, fold).values())
    return Sides(ours, baseline, accurate.name)


class _Best:
    """The candidate with the best validation figure so far."""

    def __init__(self, metric: str, sign: float) -> None:
        self.metric, self.sign, self.value = metric, sign, -float("inf")
        self.name = ""
        self.valid: Floats = np.empty(0)
        self.test: Floats = np.empty(0)

    def offer(self, figures: dict[str, float], name: str, valid: Floats, test: Floats) -> None:
        value = self.sign * figures[self.metric]
        if value > self.value:
            self.value, self.name, self.valid, self.test = value, name, valid, test


def _baselines(fold: Fold) -> Iterator[tuple[str, Floats, Floats]]:
    """Every tuned baseline's name, validation logits and test logits."""
    mean_length = float(np.linalg.norm(fold.train[0], axis=1).mean())
    for length in ("kept", "l2"):
        rows = [_scaled(part[0], length, mean_length) for part in _parts(fold)]
        models: dict[str, Any] = {
            f"logistic regression, C={c:g}": LogisticRegression(C=c, max_iter=1000)
            for c in STRENGTHS
        }
        models["ridge, leave-one-out"] = RidgeClassifierCV(alphas=ALPHAS)
        for name, model in models.items():
            model.fit(rows[0], fold.train[1])
            yield f"{name}, length {length}", *(model.decision_function(r) for r in rows[1:])
        for shrinkage, weights, bias in _discriminants(rows[0], fold.train[1]):
            name = f"LDA, shrinkage {shrinkage:g}, length {length}"
            yield name, rows[1] @ weights.T + bias, rows[2] @ weights.T + bias


def _discriminants(rows: Floats, labels: Labels) -> Iterator[tuple[float, Floats, Floats]]:
    """Shrinkage, weights `(classes, d)` and bias of linear discriminant analyses."""
    counts = np.bincount(labels)
    means = np.stack([rows[labels == label].mean(0) for label in range(len(counts))])
    rest = rows - means[labels]
    covariance = (rest.T @ rest / len(rows)).astype(np.float64)
    identity = np.eye(len(covariance))
    for shrinkage in SHRINKAGES:
        target = np.trace(covariance) / len(covariance) * identity
        shrunk = (1 - shrinkage) * covariance + shrinkage * target
        weights = np.linalg.solve(shrunk, means.T.astype(np.float64)).T
        bias = np.log(counts / len(labels)) - 0.5 * (weights * means).sum(1)
        yield shrinkage, weights, bias


def _parts(fold: Fold) -> tuple[tuple[Floats, Labels], ...]:
    return fold.train, fold.valid, fold.test


def _scaled(features: Floats, length: str, mean_length: float) -> Floats:
    divisor = np.linalg.norm(features, axis=1, keepdims=True) if length == "l2" else mean_length
    return np.asarray(features / divisor, np.float32)


def _calibrated_losses(valid: Floats, test: Floats, fold: Fold) -> dict[str, float]:
    temperature = fit_temperature(valid, fold.valid[1])
    probabilities = {
        "temperature": softmax(test, temperature),
        "vector": fit_vector_scaling(valid, fold.valid[1])(test),
        "isotonic": fit_isotonic(valid, fold.valid[1])(test),
    }
    return {
        name: evaluate_probabilities(each, fold.test[1])["nll"]
        for name, each in probabilities.items()
    }


def _report(backbone: str, splits: list[Sides]) -> None:
    rows = []
    for metric in METRICS:
        ours = np.array([split.ours[metric] for split in splits])
        theirs = np.array([split.baseline[metric] for split in splits])
        middle, low, high = corrected_interval(ours - theirs, PARTS[2], PARTS[0] + PARTS[1])
        rows.append(
            [
                metric,
                _spread(ours),
                _spread(theirs),
                f"{middle:+.4f} ({low:+.4f} to {high:+.4f})",
                f"{np.mean((ours < theirs) if metric == 'nll' else (ours > theirs)):.0%}",
            ]
        )
    print(f"\n{backbone}\n")
    head = ["test figure", "houndsight", "baseline", "difference (95 % interval)", "splits won"]
    print(Table(head, rows))
    names = [split.chosen for split in splits]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    print("\nBaseline by validation top-1: " + "; ".join(f"{n} ({c})" for n, c in counts.items()))


def _spread(values: Floats) -> str:
    return f"{values.mean():.4f} +- {values.std(ddof=min(1, len(values) - 1)):.4f}"


if __name__ == "__main__":
    main()
