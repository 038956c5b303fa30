"""The run that Houndsight grew from: a ResNet-50 at Adam's learning rate of 0.0877, one epoch.

It ended at 1 % accuracy after a loss of 84, with nothing that told its author why.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import resnet50

from houndsight.debugger import Hook
from houndsight.debugger.diagnosis import diagnose
from houndsight.findings import Finding, Severity

RATE, BREEDS, SIZE, BATCH = 0.0877, 12, 64, 32
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photos(folder: Path) -> tuple[Tensor, Tensor]:
    """Images (n, 3, SIZE, SIZE) and labels (n,) of the first breeds."""
    images, labels = [], []
    for label, breed in enumerate(sorted(folder.iterdir())[:BREEDS]):
        for path in sorted(breed.iterdir()):
            with Image.open(path) as photo:
                pixels = np.asarray(photo.convert("RGB").resize((SIZE, SIZE)), np.float32) / 255
            images.append(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1))
            labels.append(label)
    return torch.tensor(np.stack(images), dtype=torch.float32), torch.tensor(labels)


def batches(count: int) -> Iterator[Tensor]:
    order = torch.randperm(count)
    return iter(order[: count // BATCH * BATCH].split(BATCH))


def train(
    dogs: Path, trunk: Path, folder: Path, *, rate: float, epochs: int, warm_up: int = 0
) -> tuple[float, list[Finding]]:
    """Accuracy on the validation photos, and what was found."""
    torch.manual_seed(0)
    (images, labels), (valid, answers) = photos(dogs / "train"), photos(dogs / "valid")
    model = resnet50()
    weights = {name: tensor.float() for name, tensor in load_file(trunk).items()}
    assert set(model.load_state_dict(weights, strict=False).missing_keys) == {
        "fc.weight",
        "fc.bias",
    }
    model.fc = nn.Linear(model.fc.in_features, BREEDS)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / max(warm_up, 1))
    )
    with Hook(model, loss=criterion, optimizer=optimizer, folder=folder) as hook:
        for _ in range(epochs):
            model.train()
            for batch in batches(len(labels)):
                optimizer.zero_grad()
                criterion(model(images[batch]), labels[batch]).backward()
                optimizer.step()
                schedule.step()
            model.eval()
            with torch.no_grad():
                logits = model(valid)
                criterion(logits, answers)
        found = hook.findings()
    return float((logits.argmax(1) == answers).float().mean()), found


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("two_threads")
def test_the_original_run_is_explained_and_mended(
    shared_dogs: Path, shared_resnet50: Path, tmp_path: Path
) -> None:
    failed, findings = train(
        shared_dogs, shared_resnet50, tmp_path / "original", rate=RATE, epochs=1
    )
    assert failed < 2 / BREEDS
    (rule,) = [f for f in findings if f.severity == Severity.ERROR]
    assert rule.rule == "LearningRateTooHigh"
    assert "0.0877" in rule.title and "too high for Adam" in rule.title

    cause = diagnose(findings)[0].cause
    assert cause.name == "learning-rate-too-high" and cause.score > 0.7
    better = cause.change["learning_rate"]
    assert 1e-5 < better < 5e-3 and "warm it up" in cause.fix

    mended, findings = train(
        shared_dogs, shared_resnet50, tmp_path / "mended", rate=better, epochs=2, warm_up=5
    )
    assert mended > 3 / BREEDS and mended > 2 * failed
    assert not [f for f in findings if f.severity != Severity.INFO]
