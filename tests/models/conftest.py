"""Small backbones from files that the tests make, and folders of photos with hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from houndsight.data.decode import Preprocessing
from houndsight.data.folder import ImageFolder, Split
from houndsight.models.backbone import Backbone, load_backbone

SIZE = 64


@pytest.fixture(autouse=True)
def only_own_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights of the person's caches, and no network."""
    monkeypatch.delenv("HOUNDSIGHT_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("houndsight.models.sources.network.answers", lambda url: False)
    monkeypatch.setattr("houndsight.models.sources.timm.answers", lambda url: False)
    monkeypatch.setattr("houndsight.models.sources.torchvision.answers", lambda url: False)


@pytest.fixture(scope="session")
def resnet18_state() -> dict[str, torch.Tensor]:
    """A whole ResNet-18 with classifier, whose weights are random but spread like trained ones."""
    torch.manual_seed(7)
    model = timm.create_model("resnet18", pretrained=False)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("bn2.weight"):
            tensor.uniform_(0.2, 0.8)  # timm begins with zeros, which switch the branch off
    return dict(model.state_dict())


@pytest.fixture(scope="session")
def resnet18_file(
    resnet18_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(resnet18_state, path)
    return path


@pytest.fixture
def small_backbone(resnet18_file: Path) -> Backbone:
    """A ResNet-18 for photos of 64 px."""
    backbone = load_backbone(str(resnet18_file))
    backbone.preprocessing = Preprocessing(
        size=SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    return backbone


@pytest.fixture
def hashed_photos(photo_folder: Callable[..., Path]) -> Callable[..., Split]:
    """All photos of a generated folder, with content hashes as the check finds them."""

    def make(classes: Mapping[str, int], *, root: str = "photos") -> Split:
        folder = ImageFolder.open(photo_folder(classes, root=root))
        hashes = [
            hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
            for path in folder.all().paths()
        ]
        return folder.with_hashes(hashes).all()

    return make
