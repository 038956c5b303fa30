"""`houndsight doctor` from a script to a patch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from houndsight.debugger.doctor.copying import copy_place, find_place
from houndsight.debugger.doctor.plot import as_svg, as_text
from houndsight.errors import SettingError
from houndsight.runs import Run

SCRIPT = """\
import argparse
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from weights import SIZE

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=20.0)
parser.add_argument("--steps", type=int, default=300)
args = parser.parse_args()
assert Path("data/numbers.txt").read_text() == "1 2 3"
torch.manual_seed(0)
torch.set_num_threads(1)
inputs = torch.randn(512, SIZE)
labels = (inputs @ torch.randn(SIZE, 4)).argmax(1)
model = nn.Sequential(nn.Linear(SIZE, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=args.rate)
for step in range(args.steps):
    at = torch.randperm(512)[:32]
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs[at]), labels[at])
    loss.backward()
    optimizer.step()
Path("model.txt").write_text("new")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "numbers.txt").write_text("1 2 3")
    (tmp_path / "weights.py").write_text("SIZE = 16\n")
    (tmp_path / "model.txt").write_text("old")
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def doctor(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "houndsight", "doctor", *arguments],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_a_script_is_diagnosed_checked_and_repaired(place: Path) -> None:
    pytest.importorskip("libcst", reason="the extra `doctor` is not installed")
    done = doctor(place, "train.py")
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (
        "✓ learning-rate range test",
        "it helps",
        "yours",
        '-parser.add_argument("--rate", type=float, default=20.0)',
        "apply it",
        "Conclusion",
    ):
        assert text in done.stdout, done.stdout
    assert (place / "train.py").read_text() == SCRIPT
    assert (place / "model.txt").read_text() == "old"
    examined = place / "runs" / "train" / "doctor" / "1"
    assert (examined / "doctor.svg").exists() and (examined / "doctor.patch").exists()

    again = doctor(place, "runs/train")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (place / "runs" / "train" / "doctor" / "2" / "doctor.patch").exists()


@pytest.mark.slow
def test_what_the_command_line_sets_is_not_patched(place: Path) -> None:
    pytest.importorskip("libcst", reason="the extra `doctor` is not installed")
    done = doctor(place, "train.py", "--", "--rate", "30", "--steps", "40")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The command line sets it: give --rate" in done.stdout


@pytest.mark.slow
def test_a_script_that_fails_is_shown(place: Path) -> None:
    (place / "train.py").write_text("import torch\nraise ValueError('no data here')\n")
    done = doctor(place, "train.py")
    assert done.returncode == 1
    assert "No training was seen" in done.stderr and "no data here" in done.stderr


def test_a_run_without_its_script_names_what_needs_it(place: Path) -> None:
    Run.create(place / "run", kind="job", config={})
    done = doctor(place, "run")
    assert done.returncode == 0
    assert "learning-rate range test" in done.stdout
    assert "houndsight doctor SCRIPT.py" in done.stdout


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no script nowhere\.py"):
        find_place(["python", "nowhere.py"], tmp_path)
    with pytest.raises(SettingError, match="names no Python script"):
        find_place(["make", "train"], tmp_path)


def test_a_copy_holds_what_a_script_needs_and_links_what_is_large(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("houndsight.debugger.doctor.copying.FILE_BYTES", 20)
    for hidden in (".git", "runs", "__pycache__"):
        (place / hidden).mkdir()
        (place / hidden / "file").write_text("")
    found = find_place(["python", "train.py", "--rate", "1"], place)
    assert found.command == ("python", "train.py", "--rate", "1")
    copied = copy_place(found, place.parent / f"{place.name}-copy")
    assert copied.linked == ("train.py",)
    assert (copied.root / "train.py").is_symlink()
    assert (copied.root / "data" / "numbers.txt").read_text() == "1 2 3"
    assert not (copied.root / "data" / "numbers.txt").is_symlink()
    assert not any((copied.root / name).exists() for name in (".git", "runs", "__pycache__"))


def test_a_script_elsewhere_is_copied_with_its_own_folder(place: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    found = find_place(["python", "../train.py"], tmp_path / "sub")
    assert found.root == place and str(found.script) == "train.py"
    assert found.command == ("python", "train.py")


def test_curves_are_drawn_as_text_and_as_a_picture() -> None:
    curves = {"yours": [2.0, 3.0, None, 400.0], "repaired <b>": [2.0, 1.0, 0.5, 0.1]}
    text = as_text(curves, width=20, height=5)
    assert text.splitlines()[0].startswith("  6 │") and "o repaired" in text
    svg = as_svg(curves, title="Loss")
    assert svg.count("<polyline") == 2 and "repaired &lt;b&gt;" in svg
    assert as_text({"yours": []}) and as_svg({"yours": [None]}, title="")
