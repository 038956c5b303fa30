"""Pretrained weights that scripts find without network."""

from __future__ import annotations

import hashlib

import pytest

from houndsight.config import cache_home
from houndsight.jobs.container.weights import keep_downloads, make_torch_home


def _names(folder):
    return {p.name: p.read_text() for p in (folder / "hub" / "checkpoints").iterdir()}


def test_files_are_found_under_the_names_asked_for(tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("resnet50-19c8e357.pth", "resnet18-f37072fd.pth", "mine.pt", "notes.txt"):
        (weights / name).write_text(name)
    monkeypatch.setenv("HOUNDSIGHT_WEIGHTS", str(weights))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    assert _names(make_torch_home(tmp_path / "torch")) == {
        "resnet50-19c8e357.pth": "resnet50-19c8e357.pth",
        "resnet50-0676ba61.pth": "resnet50-19c8e357.pth",
        "resnet18-f37072fd.pth": "resnet18-f37072fd.pth",
        "resnet18-5c106cde.pth": "resnet18-f37072fd.pth",
        "mine.pt": "mine.pt",
    }


def test_the_second_version_never_stands_in_for_the_first(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet50-11ad3fa6.pth").write_text("V2")
    monkeypatch.setenv("HOUNDSIGHT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    assert set(_names(make_torch_home(tmp_path / "torch"))) == {"resnet50-11ad3fa6.pth"}


def test_the_persons_own_torch_cache_serves_too(tmp_path, monkeypatch):
    checkpoints = tmp_path / "mine" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "vgg16-397923af.pth").write_text("x")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "mine"))
    assert set(_names(make_torch_home(tmp_path / "torch"))) == {"vgg16-397923af.pth"}


def test_a_download_is_kept_if_it_is_what_its_name_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    home = make_torch_home(tmp_path / "torch")
    checkpoints = home / "hub" / "checkpoints"
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    (checkpoints / f"net-{digest}.pth").write_bytes(b"weights")
    (checkpoints / "resnet50-0676ba61.pth").write_bytes(b"poison")
    assert keep_downloads(home) == [cache_home() / "torch-checkpoints" / f"net-{digest}.pth"]
    assert set(_names(make_torch_home(tmp_path / "next"))) == {f"net-{digest}.pth"}


PRETRAINED = """
import torchvision
model = torchvision.models.resnet18(pretrained=True)
print("RESULT", float(model.fc.bias[0]))
"""


@pytest.mark.slow
def test_a_script_finds_pretrained_weights(platform, tmp_path, monkeypatch):
    import torch
    import torchvision

    (tmp_path / "weights").mkdir()
    model = torchvision.models.resnet18()
    torch.nn.init.constant_(model.fc.bias, 0.25)
    torch.save(model.state_dict(), tmp_path / "weights" / "resnet18-5c106cde.pth")
    monkeypatch.setenv("HOUNDSIGHT_WEIGHTS", str(tmp_path / "weights"))
    ended = platform.run(platform.spec({"t.py": PRETRAINED}))
    assert ended.said() == 0.25, ended.log


@pytest.mark.slow
def test_missing_weights_are_the_reason(platform, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    refuse = "import socket\ndef no(*a, **k): raise OSError(101, 'Network is unreachable')\n"
    script = refuse + "socket.create_connection = no\n" + PRETRAINED
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    ended = platform.run(platform.spec({"t.py": script}))
    assert "The weights resnet18-f37072fd.pth are not on this machine" in ended.reason
    assert "set HOUNDSIGHT_WEIGHTS to it" in ended.reason
