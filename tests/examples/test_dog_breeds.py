"""The example: the notebook, cell by cell, with the official SDK 2.x, and the script with 3.x."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

for module in ("sagemaker", "sqlalchemy", "nbclient", "ipykernel"):
    pytest.importorskip(module, reason="the extras `sagemaker` and `notebook` are not installed")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dog_breeds"
BREEDS = ("001.Affenpinscher", "002.Afghan_hound", "003.Airedale_terrier")
EACH = {"train": 4, "valid": 2, "test": 2}
RULES = ("VanishingGradient", "Overfit", "Overtraining", "PoorWeightInitialization")
SAVED = """
import sys
from smdebug.core.modes import ModeKeys
from smdebug.trials import create_trial

loss = create_trial(sys.argv[1]).tensor("CrossEntropyLoss_output_0")
print(len(loss.steps(mode=ModeKeys.TRAIN)), len(loss.steps(mode=ModeKeys.EVAL)))
"""


@pytest.fixture
def dogs(photo_folder: Callable[..., Path]) -> Path:
    """24 photos of three breeds."""
    for split, count in EACH.items():
        photo_folder(dict.fromkeys(BREEDS, count), size=64, root=f"dogs/{split}")
    return photo_folder({}, root="dogs")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """What torchvision would download, under its name; nobody looks at how well it sees."""
    import torch
    from torchvision.models import resnet50

    torch.manual_seed(0)
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save(resnet50(weights=None).state_dict(), folder / "resnet50-0676ba61.pth")
    return folder


@pytest.fixture
def environment(tmp_path: Path, dogs: Path, weights: Path) -> Iterator[Mapping[str, str]]:
    """Of a person who has typed `houndsight up`."""
    own = {
        "HOUNDSIGHT_HOME": str(tmp_path / "state"),
        "HOUNDSIGHT_CACHE": str(tmp_path / "cache"),
        "HOUNDSIGHT_WEIGHTS": str(weights),
        "PHOTOS": str(dogs),
    }
    variables = os.environ | own
    houndsight(["up", "--port", "0"], variables)
    yield variables
    houndsight(["down"], variables)


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """The Python of an environment with the SDK 3.x, which knows nothing of Houndsight."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "client"], check=True)
    python = tmp_path / "client" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*install, "sagemaker>=3,<4"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("pip could not install the SDK 3.x (sagemaker>=3,<4)")
    return python


def houndsight(words: list[str], environment: Mapping[str, str], cwd: Path | None = None) -> str:
    command = [sys.executable, "-m", "houndsight", *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def outputs(notebook: Path) -> str:
    """All that its cells printed or showed."""
    cells: list[dict[str, Any]] = json.loads(notebook.read_text())["cells"]
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in shown]
    return "\n".join("".join(text) for text in texts)


def assert_answered_and_cleaned_up(told: str, environment: Mapping[str, str]) -> None:
    # Once for a photo's bytes, once for the URL of the same photo.
    assert told.count("'breed': 'x'".replace("x", BREEDS[0])) == 2
    listed = houndsight(["jobs"], environment)
    assert listed.count("Completed") >= 6
    assert "Failed" not in listed
    assert "InService" not in houndsight(["endpoints"], environment)


def test_the_notebook_runs_from_upload_to_delete_endpoint(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    place = tmp_path / "example"
    shutil.copytree(EXAMPLE, place)
    name = "train_and_deploy.ipynb"
    houndsight(["notebook", "--execute", name, "--output", "done.ipynb"], environment, place)
    told = outputs(place / "done.ipynb")
    assert all(f"{rule}: " in told for rule in RULES)
    assert "CrossEntropyLoss_output_0" in told
    assert "TRAIN: " in told
    assert "EVAL: " in told
    assert "profiler-report.html" in told
    assert_answered_and_cleaned_up(told, environment)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_script_runs_from_upload_to_delete_endpoint_with_the_sdk_3(
    tmp_path: Path, client: Path, environment: Mapping[str, str]
) -> None:
    place = tmp_path / "example"
    shutil.copytree(EXAMPLE, place)
    command = ["exec", "--", str(client), "train_and_deploy_v3.py"]
    told = houndsight(command, environment, place)
    assert all(f"{rule}: " in told for rule in RULES)
    assert "Training Loss: " in told
    assert "Testing Loss: " in told
    assert "profiler-report.html" in told
    saved = told.split("Saved tensors: ")[1].split()[0]
    reader = ["exec", "--", sys.executable, "-c", SAVED, saved]
    train, evaluation = houndsight(reader, environment).split()[-2:]
    assert int(train) > 0
    assert int(evaluation) > 0
    assert_answered_and_cleaned_up(told, environment)
