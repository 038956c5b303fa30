"""A small classifier for tests: real parts, a few hundred thousand random weights, 32 px."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

from houndsight.data.decode import Preprocessing
from houndsight.data.names import ClassName
from houndsight.models.artifact import ModelArtifact
from houndsight.models.backbone import Backbone
from houndsight.models.classifier import Classifier, Head
from houndsight.models.table import BACKBONES

NAME = "tiny"
PREPROCESSING = Preprocessing(size=32, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
CLASSES = tuple(
    ClassName(n, f"{i:03d}.{n}") for i, n in enumerate(("red", "green", "blue", "ünder"))
)


def register() -> None:
    """Let the table of backbones know the small one, in this process."""
    if NAME not in BACKBONES:
        BACKBONES[NAME] = replace(
            BACKBONES["resnet18"], name=NAME, architecture="test_resnet", feature_dim=96
        )


def make_classifier(seed: int = 0) -> Classifier:
    register()
    torch.manual_seed(seed)
    row = BACKBONES[NAME]
    state = timm.create_model(row.architecture, pretrained=False, num_classes=0).state_dict()
    backbone = Backbone(row, state, preprocessing=PREPROCESSING)
    head = Head(row.feature_dim, len(CLASSES))
    nn.init.normal_(head.linear.weight, std=8.0)
    return Classifier(backbone, head).eval()


def make_artifact(seed: int = 0) -> ModelArtifact:
    return ModelArtifact(
        classifier=make_classifier(seed),
        classes=CLASSES,
        temperature=1.5,
        metrics={"test": {"top1": 0.9, "nll": float("nan")}},
        fingerprint="abc",
    )


def random_images(count: int, seed: int = 0) -> np.ndarray:
    """uint8 `(count, 32, 32, 3)` that differ as much as photos do."""
    random = np.random.default_rng(seed)
    colour = random.integers(0, 256, (count, 1, 1, 3))
    noise = random.normal(0, 40, (count, 32, 32, 3))
    return np.clip(colour + noise, 0, 255).astype(np.uint8)


@functools.cache
def saved_model(graph: str | None = None) -> Path:
    """A saved model's folder, the same one all session: read it, or copy it to change it."""
    root = Path(tempfile.mkdtemp(prefix="houndsight-tests-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    check = make_artifact().save(root / "model", graph=graph, check_images=random_images(32))
    assert check is None or check.kept, check
    return root / "model"
