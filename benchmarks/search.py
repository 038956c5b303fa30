"""Claim: a search of 20 trials costs about one pass over the photos, and its own part is over
10 times quicker than Optuna with scikit-learn on the same cached features, at no worse a loss.

On the shared dogs with a frozen ResNet-50, in one run:

- houndsight: `FeatureCache.features` into an empty cache, then `search_heads` with its defaults;
- optuna + scikit-learn: TPE over `LogisticRegression`'s C (0.01 to 100) and over leaving the
  features' length in or out, on the same features, for as many trials; the two searches take
  turns, one seed a round, with the same threads;
- the original's way: decode and eager frozen forward in every epoch of every trial, 5 epochs of
  SGD on the head; one trial is measured on some of the photos and multiplied;
- the same channels-last, and in bf16 where the CPU has its instructions.

Losses are those of the validation photos after temperature scaling, on which the searches also
choose. A frozen forward gives the same features every epoch, so the original's loss is taken from
`search_heads` with `solver="sgd"`, which searches its learning rate and batch size on the cache.

    python benchmarks/search.py [--quick] [--rounds 3] [--threads 2] [--photos DIR] [--weights FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import optuna
import torch
from _common import (
    DOGS,
    RESNET50,
    SEEN,
    Table,
    cached_features,
    machine,
    mean_interval,
    open_dogs,
    ratio_interval,
    there,
)
from PIL import Image
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional

from houndsight.data.folder import ImageFolder
from houndsight.models.backbone import Backbone, load_backbone
from houndsight.models.features import FeatureCache
from houndsight.models.openvino_trunk import cpu_precision
from houndsight.models.runtime import compile_trunk
from houndsight.training.calibrate import fit_temperature
from houndsight.training.metrics import evaluate_logits
from houndsight.tuning.heads import search_heads
from houndsight.tuning.settings import TuningSettings

EPOCHS = 5
BATCH = 64

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """Training and validation photos as features."""

    classes: int
    train: tuple[Features, Labels]
    valid: tuple[Features, Labels]


@dataclass
class Side:
    """Seconds and best validation loss, a round each."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def main() -> None:
    """Measure the pass, let the searches take turns, measure a trial the old way, print."""
    arguments = _arguments()
    if not there(arguments.photos, arguments.weights):
        return
    torch.set_num_threads(arguments.threads)
    threadpool_limits(arguments.threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="sklearn")
    photos = open_dogs(arguments.photos, *((10, 20) if arguments.quick else (None, None)))
    backbone = load_backbone(str(arguments.weights))
    compile_trunk(backbone)
    with tempfile.TemporaryDirectory(prefix="houndsight-search-") as folder:
        started = time.perf_counter()
        features = cached_features(FeatureCache(Path(folder)), backbone, photos)
        pass_seconds = time.perf_counter() - started
    data = _data(photos, features)
    ways: dict[str, Callable[[Data, int, int], float]] = {
        "houndsight": _houndsight,
        "optuna": _optuna,
    }
    sides = {name: Side() for name in ways}
    for seed in range(arguments.rounds):
        for name in list(ways)[:: 1 if seed % 2 == 0 else -1]:
            started = time.perf_counter()
            loss = ways[name](data, arguments.trials, seed)
            sides[name].seconds.append(time.perf_counter() - started)
            sides[name].losses.append(loss)
    sgd = [_sgd(data, arguments.trials, seed) for seed in range(arguments.rounds)]
    part = min(arguments.part, len(photos))
    plain = _trial_seconds(backbone, photos, part, fast=False) * arguments.trials
    fast = _trial_seconds(backbone, photos, part, fast=True) * arguments.trials
    _report(arguments, len(photos), part, pass_seconds, sides, sgd, plain, fast)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=DOGS)
    parser.add_argument("--weights", type=Path, default=RESNET50)
    parser.add_argument("--rounds", type=int, default=3, help="seeds, in turn for both sides")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--part", type=int, default=240, help="photos of the measured old trial")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="10 breeds, 3 trials: a smoke test")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.trials, arguments.part = 2, 3, 16
    return arguments


def _data(photos: ImageFolder, features: Features) -> Data:
    names = np.asarray(photos.table.column("split").to_pylist())
    labels = np.asarray(photos.all().labels)
    train, valid = names == "train", names == "valid"
    return Data(
        int(labels.max()) + 1, (features[train], labels[train]), (features[valid], labels[valid])
    )


def _houndsight(data: Data, trials: int, seed: int) -> float:
    settings = TuningSettings(trials=trials, seed=seed)
    return _loss(data, settings)


def _sgd(data: Data, trials: int, seed: int) -> float:
    return _loss(data, TuningSettings(trials=trials, seed=seed, solver="sgd"))


def _loss(data: Data, settings: TuningSettings) -> float:
    found = search_heads(*data.train, data.classes, valid=data.valid, settings=settings)
    return found.fitted.metrics["nll"]


def _optuna(data: Data, trials: int, seed: int) -> float:
    mean_length = float(np.linalg.norm(data.train[0], axis=1).mean())

    def scaled(features: Features, way: str) -> Features:
        length = np.linalg.norm(features, axis=1, keepdims=True) if way == "l2" else mean_length
        return np.asarray(features / length, np.float32)

    def objective(trial: optuna.Trial) -> float:
        strength = trial.suggest_float("C", 1e-2, 1e2, log=True)
        way = trial.suggest_categorical("length", ["l2", "kept"])
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(scaled(data.train[0], way), data.train[1])
        logits = model.decision_function(scaled(data.valid[0], way))
        if logits.ndim == 1:
            logits = np.stack([-logits / 2, logits / 2], axis=1)
        temperature = fit_temperature(logits, data.valid[1])
        return evaluate_logits(logits, data.valid[1], temperature=temperature)["nll"]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=trials)
    return float(study.best_value)


class _Photos(Dataset[tuple[torch.Tensor, int]]):
    """Photos decoded as the original does, every time they are asked for."""

    def __init__(self, photos: ImageFolder, backbone: Backbone, part: int) -> None:
        split = photos.all()
        chosen = split.take(np.linspace(0, len(split) - 1, part).astype(np.int64))
        self.paths, self.labels = [str(path) for path in chosen.paths()], chosen.labels
        self.rules = backbone.preprocessing

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        size = self.rules.size
        image = Image.open(self.paths[index]).convert("RGB").resize((size, size))
        pixels = functional.normalize(
            functional.to_tensor(image), list(self.rules.mean), list(self.rules.std)
        )
        return pixels, int(self.labels[index])


def _trial_seconds(backbone: Backbone, photos: ImageFolder, part: int, *, fast: bool) -> float:
    """One trial over all photos, measured on `part` of them."""
    layout = torch.channels_last if fast else torch.contiguous_format
    bf16 = fast and cpu_precision() == "bf16"
    backbone = backbone.to(memory_format=layout)
    loader = DataLoader(_Photos(photos, backbone, part), batch_size=BATCH, shuffle=True)
    head = torch.nn.Linear(backbone.feature_dim, len(photos.classes))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)
    started = time.perf_counter()
    for _ in range(EPOCHS):
        for images, labels in loader:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                rows = backbone(images.to(memory_format=layout))
            loss = torch.nn.functional.cross_entropy(head(rows.float()), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return (time.perf_counter() - started) * len(photos) / part


def _report(
    arguments: argparse.Namespace,
    photos: int,
    part: int,
    pass_seconds: float,
    sides: dict[str, Side],
    sgd: list[float],
    plain: float,
    fast: float,
) -> None:
    ours, theirs = sides["houndsight"], sides["optuna"]
    search = float(np.median(ours.seconds))
    total = pass_seconds + search
    precision = "bf16" if cpu_precision() == "bf16" else "float32, no bf16 instructions here"
    ratio = ratio_interval(ours.seconds, theirs.seconds)
    print(f"{photos:,} photos, frozen ResNet-50, {arguments.trials} trials, {machine()},")
    print(f"{arguments.threads} threads; seeds 0 to {arguments.rounds - 1}, median seconds, mean")
    print(f"validation loss after temperature. One old trial measured on {part} photos.")
    print(SEEN)
    print()
    rows = [
        ["one feature pass", f"{pass_seconds:.1f}", "", ""],
        ["houndsight, the search alone", f"{search:.2f}", "1", f"{np.mean(ours.losses):.4f}"],
        [
            "optuna + scikit-learn, the search alone",
            f"{np.median(theirs.seconds):.2f}",
            f"{ratio[0]:.1f} ({ratio[1]:.1f}-{ratio[2]:.1f})",
            f"{np.mean(theirs.losses):.4f}",
        ],
        ["houndsight, pass and search", f"{total:.1f}", "1", f"{np.mean(ours.losses):.4f}"],
        ["the original's way", f"{plain:.0f}", f"{plain / total:.0f}", f"{np.mean(sgd):.4f}"],
        [
            f"the same, channels-last ({precision})",
            f"{fast:.0f}",
            f"{fast / total:.0f}",
            f"{np.mean(sgd):.4f}",
        ],
    ]
    print(Table(["way", "seconds", "times houndsight's (95 % interval)", "loss"], rows))
    print()
    gain = mean_interval(np.asarray(ours.losses) - np.asarray(theirs.losses))
    print(f"Loss less optuna's, paired: {gain[0]:+.4f} ({gain[1]:+.4f} to {gain[2]:+.4f}).")
    _verdict("Pass and search in at most 1.3 passes", total / pass_seconds, at_most=1.3)
    _verdict("At least 10 times quicker after the pass", ratio[0], at_least=10)
    _verdict("At no worse a loss", gain[0], at_most=0.0)
    _verdict("At least 150 times less than the original's way", plain / total, at_least=150)
    _verdict("At least 50 times less than channels-last", fast / total, at_least=50)
    worse = float(np.mean(ours.losses) / np.mean(sgd))
    _verdict("At a loss at most 1 % above the original's", worse, at_most=1.01)


def _verdict(claim: str, value: float, *, at_least: float = -1e9, at_most: float = 1e9) -> None:
    verdict = "holds" if at_least <= value <= at_most else "FAILS"
    print(f"{claim}: {verdict}, {value:.4g}.")


if __name__ == "__main__":
    main()
