"""What every test may use: private folders, generated photos, shared data when it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("houndsight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("houndsight")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def isolated_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """State, caches and configuration of the test alone."""
    home = tmp_path_factory.mktemp("home")
    for variable, folder in {
        "HOUNDSIGHT_HOME": "state",
        "HOUNDSIGHT_CACHE": "cache",
        "XDG_CONFIG_HOME": "config",
    }.items():
        monkeypatch.setenv(variable, str(home / folder))
    return home


@pytest.fixture
def shared_dogs() -> Path:
    """6,000 dog photos of 120 breeds beside the repository, `train` and `valid`."""
    return _shared("data/dogs")


@pytest.fixture
def shared_resnet50() -> Path:
    """A ResNet-50 trunk beside the repository."""
    return _shared("weights/resnet50_trunk.safetensors")


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"shared/{name} is not beside this checkout")
    return path


@pytest.fixture
def photo_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes `root/CLASS/NNN.jpg` photos whose classes differ by colour and stripes.

    `photo_folder({"red": 12, "blue": 12}, size=64, root="photos")`.
    """

    def make(classes: Mapping[str, int], *, size: int = 64, root: str = "photos") -> Path:
        random = np.random.default_rng(len(classes))
        for index, (name, count) in enumerate(classes.items()):
            folder = tmp_path / root / name
            folder.mkdir(parents=True, exist_ok=True)
            colour = np.random.default_rng(index).integers(40, 216, 3)
            for number in range(count):
                _photo(random, colour, index, size).save(folder / f"{number:03d}.jpg", quality=92)
        return tmp_path / root

    return make


def _photo(random: np.random.Generator, colour: np.ndarray, index: int, size: int) -> Image.Image:
    rows = np.arange(size)[:, None, None]
    stripes = 40 * np.sin(rows * (index + 1) * 2 * np.pi / size + random.uniform(0, 6))
    noise = random.normal(0, 20, (size, size, 3))
    return Image.fromarray(np.clip(colour + stripes + noise, 0, 255).astype(np.uint8))
