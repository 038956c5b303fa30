"""The network, the photos and the epochs that `hpo.py` and `train_model.py` share."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

# What the pretrained backbone is used to; `img_reference.py` prepares its photos the same way.
PREPARE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)


def arguments() -> argparse.Namespace:
    """Hyperparameters from the command line, folders from the SM_* variables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, default=0.005)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--valid", type=Path, default=os.environ.get("SM_CHANNEL_VALID"))
    parser.add_argument("--test", type=Path, default=os.environ.get("SM_CHANNEL_TEST"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR", "model"))
    chosen = parser.parse_args()
    torch.manual_seed(chosen.seed)
    return chosen


def photos(folder: Path, batch_size: int, shuffle: bool = False) -> DataLoader:
    """Batches of a folder with one folder of photos for each class."""
    return DataLoader(ImageFolder(folder, PREPARE), batch_size=batch_size, shuffle=shuffle)


def pretrained(classes: int) -> nn.Module:
    """A ResNet-50 whose backbone is frozen, with a new head."""
    model = models.resnet50(weights="IMAGENET1K_V1")
    for parameter in model.parameters():
        parameter.requires_grad = False
    # Made after the freezing, so that it is what learns.
    model.fc = nn.Linear(model.fc.in_features, classes)
    return model


def train_mode(model: nn.Module) -> None:
    """Let the head train. A frozen backbone keeps its BatchNorm statistics too."""
    model.eval()
    model.fc.train()


@torch.no_grad()
def evaluate(model: nn.Module, batches: DataLoader, criterion: nn.Module) -> tuple[float, float]:
    """Mean loss and accuracy."""
    model.eval()
    loss, right, count = 0.0, 0, 0
    for images, labels in batches:
        outputs = model(images)
        loss += criterion(outputs, labels).item() * len(labels)
        right += (outputs.argmax(dim=1) == labels).sum().item()
        count += len(labels)
    return loss / count, right / count


def save(model: nn.Module, classes: list[str], folder: Path) -> None:
    """Write what `img_reference.py` loads."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "model.pth")
    (folder / "classes.json").write_text(json.dumps(classes))
