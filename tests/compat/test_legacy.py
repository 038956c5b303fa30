"""Names that newer libraries removed, in processes that ask for an older framework."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import houndsight
from houndsight.compat.legacy import ALWAYS, GONE, SHIMS

COMPAT_PATH = Path(houndsight.__file__).parent / "compat" / "path"

PILLOW_AND_NUMPY = """
import numpy as np
assert np.float is float and np.int is int and np.object is object
assert np.float_ is np.float64 and np.Inf == np.inf and np.product([2, 3]) == 6
from numpy import float as f
assert f is float
try:
    np.nothing_like_it
except AttributeError as error:
    assert "nothing_like_it" in str(error)
from PIL import Image, ImageDraw, ImageFont
assert Image.ANTIALIAS == Image.LANCZOS
image = Image.new("RGB", (64, 64))
assert image.resize((8, 8), Image.ANTIALIAS).size == (8, 8)
assert ImageDraw.Draw(image).textsize("hello")[0] > 10
assert ImageFont.load_default().getsize("hello")[0] > 10
from collections import Mapping, Iterable
import collections.abc, collections, time
assert Mapping is collections.abc.Mapping and collections.Sequence is collections.abc.Sequence
time.clock()
"""
TORCH = """
import io, torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
model = nn.Sequential(nn.Linear(2, 2))
file = io.BytesIO()
torch.save(model, file)
file.seek(0)
assert isinstance(torch.load(file), nn.Sequential)
torch.save(model, "model.pth")
assert isinstance(torch.load("model.pth", map_location="cpu"), nn.Sequential)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
ReduceLROnPlateau(optimizer, "min", factor=0.5, verbose=True).step(1.0)
StepLR(optimizer, step_size=1, gamma=0.5, verbose=True)
from torch.utils.data import DataLoader
assert iter(DataLoader([1, 2, 3], batch_size=3)).next().tolist() == [1, 2, 3]
from torch._six import string_classes, container_abcs, inf
from torchvision import transforms
assert transforms.Scale(8).size == 8 and transforms.RandomSizedCrop(8).size == (8, 8)
from torchvision.models.resnet import model_urls
assert model_urls["resnet18"].endswith("resnet18-f37072fd.pth")
from torchvision.models.utils import load_state_dict_from_url
"""
LINES = {
    PILLOW_AND_NUMPY: [
        "np.float was",
        "np.Inf was",
        "Image.ANTIALIAS",
        "textsize",
        "collections.Mapping",
        "time.clock",
    ],
    TORCH: [
        "torch.load",
        "takes no verbose",
        "iterator.next()",
        "torch._six",
        "transforms.Scale",
        "model_urls",
    ],
}


def _run(script: str, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HOUNDSIGHT_JOB")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**clean, "PYTHONPATH": str(COMPAT_PATH), **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("script", [PILLOW_AND_NUMPY, TORCH], ids=["pillow, numpy", "torch"])
def test_old_names_work_and_are_said_once(script, tmp_path):
    (tmp_path / "said").mkdir()
    said = {"HOUNDSIGHT_JOB_LEGACY": "1.8", "HOUNDSIGHT_JOB_SAID": str(tmp_path / "said")}
    done = _run(script, tmp_path, **said)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("houndsight: ")]
    for wanted in LINES[script]:
        assert sum(wanted in line for line in lines) == 1, (wanted, done.stderr)


@pytest.mark.parametrize("asked", ["", "current", "99.1"])
def test_without_an_older_version_nothing_is_changed(asked, tmp_path):
    script = "import numpy; numpy.float"
    done = _run(script, tmp_path, HOUNDSIGHT_JOB_LEGACY=asked)
    assert done.returncode == 1
    assert "AttributeError" in done.stderr


def test_every_function_of_the_table_is_there():
    import importlib

    for _, function in (*SHIMS, *GONE, *ALWAYS):
        module, _, name = function.partition(":")
        assert callable(getattr(importlib.import_module(module), name)), function


OFFLINE = """
import socket, torch
def refuse(*args, **named):
    raise OSError(101, "Network is unreachable")
socket.create_connection = refuse
try:
    torch.hub.load_state_dict_from_url("https://models.example/resnet18-f37072fd.pth")
except OSError as error:
    print("raised", error)
"""


def test_missing_weights_are_named_with_the_way_out(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18_trunk.pth").touch()
    clean = {"TORCH_HOME": str(tmp_path / "torch"), "HOUNDSIGHT_WEIGHTS": str(tmp_path / "weights")}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "")
    done = _run(OFFLINE, tmp_path, HOUNDSIGHT_JOB_LEGACY="current", **clean, **proxies)
    assert done.returncode == 0, done.stderr
    assert "raised [Errno 101]" in done.stdout
    [line] = [text for text in done.stderr.splitlines() if text.startswith("houndsight: ")]
    assert "resnet18-f37072fd.pth" in line
    assert str(tmp_path / "weights") in line
    assert "resnet18_trunk.pth there holds other weights" in line
