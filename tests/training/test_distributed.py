import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_classifier import toy_recipe, train_toy

from houndsight.errors import SettingError
from houndsight.training.distributed import ALONE

SCRIPT = Path(__file__).parent / "team_training.py"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def _train(folder: Path, *launcher: str) -> dict[str, torch.Tensor]:
    folder.mkdir()
    command = [sys.executable, *launcher, str(SCRIPT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "weights.safetensors")


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    alone, team = _train(tmp_path / "alone"), _train(tmp_path / "team", *TORCHRUN)
    for name, tensor in alone.items():
        torch.testing.assert_close(team[name], tensor, rtol=1e-3, atol=1e-4)
    first, second = (
        json.loads((tmp_path / "team" / f"outcome-{rank}.json").read_text()) for rank in (0, 1)
    )
    single = json.loads((tmp_path / "alone" / "outcome-0.json").read_text())
    assert first["metrics"] == second["metrics"] and first["reason"] == second["reason"]
    assert first["metrics"]["loss"] == pytest.approx(single["metrics"]["loss"], rel=1e-3)
    assert first["metrics"]["count"] == 23
    assert first["events"] == single["events"] and second["events"] == 0


def test_alone_everything_is_as_it_is() -> None:
    model = torch.nn.Linear(1, 1)
    assert ALONE.wrap(model, torch.device("cpu")) is model
    assert ALONE.sum([1.5], torch.device("cpu")) == [1.5]
    assert ALONE.leader("a") == "a" and ALONE.gather("a") == ["a"]


def test_a_team_without_ranks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(SettingError, match="torchrun"):
        train_toy(tmp_path, toy_recipe())
