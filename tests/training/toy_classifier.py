"""A classifier small enough to train in a test, and activations it can learn."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from houndsight.data.decode import Preprocessing
from houndsight.models.classifier import Classifier, Head
from houndsight.training.batches import ActivationBatches
from houndsight.training.recipe import Recipe
from houndsight.training.trainer import Trainer, TrainingResult

CLASSES = 3
PREPROCESSING = Preprocessing(size=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class Block(nn.Module):
    """Convolution, BatchNorm, ReLU, dropout: (n, 8, h, w) -> (n, 8, h, w)."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(torch.relu(self.norm(self.conv(x))))


class ToyBackbone(nn.Module):
    """Images (n, 3, 16, 16) -> (n, 8, 4, 4) at the boundary -> features (n, 8)."""

    name, weights_hash, feature_dim, boundary = "toy", "0" * 32, 8, "layer"

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.preprocessing = PREPROCESSING
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        layer = nn.Sequential(Block(dropout), Block(dropout))
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.stage = nn.Sequential()
        self.stage.add_module("layer", layer)
        self.stage.add_module("pool", pool)

    def forward(self, images: Tensor) -> Tensor:
        return self.stage(self.trunk(images))


def toy_classifier(*, dropout: float = 0.1, classes: int = CLASSES) -> Classifier:
    """The same weights every time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        classifier = Classifier(ToyBackbone(dropout), Head(8, classes, normalise="none"))
    return classifier.eval()


def toy_activations(count: int = 48, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Activations (count, 8, 4, 4) whose class shows as a pattern, and labels (count,)."""
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).normal(size=(CLASSES, 8, 4, 4))
    labels = np.arange(count) % CLASSES
    return (patterns[labels] + random.normal(size=(count, 8, 4, 4))).astype(np.float32), labels


def toy_batches(
    recipe: Recipe, *, train: int = 48, valid: int = 24
) -> tuple[ActivationBatches, ActivationBatches]:
    """Training and validation batches."""
    inputs, labels = toy_activations(train)
    mirrored = np.ascontiguousarray(inputs[..., ::-1])
    return (
        ActivationBatches(inputs, labels, recipe=recipe, mirrored=mirrored),
        ActivationBatches(*toy_activations(valid, seed=1), batch_size=16),
    )


def toy_recipe(**changes: object) -> Recipe:
    """Three quick epochs of six steps on the CPU."""
    settings = {
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "head_learning_rate": 5e-2,
        "device": "cpu",
        "precision": "fp32",
        "patience": 0,
    }
    return Recipe(**(settings | changes))


def train_toy(folder: Path, recipe: Recipe, **kwargs: object) -> tuple[Classifier, TrainingResult]:
    """Train a new toy classifier in `folder`."""
    classifier = toy_classifier()
    trainer = Trainer(classifier, recipe, folder=folder, **kwargs)
    return classifier, trainer.fit(*toy_batches(recipe))


def weights_digest(classifier: nn.Module) -> str:
    """Changes with every bit of every tensor."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(classifier.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
