"""A job's debugger and profiler from its configuration to what stands in S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_helper import rule

from houndsight.jobs.debugging.attend import COMPAT

PLAIN = """
import torch
from torch import nn
torch.manual_seed(0)
class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.relu, self.fc = nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Linear(16, 3)
    def forward(self, x):
        return self.fc(self.relu(self.stem(x)))
model, criterion = ResNet(), nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr={rate})
data = torch.randn(96, 8)
target = data[:, :3].argmax(1)
for epoch in range(4):
    model.train()
    for first in range(0, 96, 12):
        optimizer.zero_grad()
        loss = criterion(model(data[first:first + 12]), target[first:first + 12])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print("Testing Loss:", criterion(model(data), target).item())
"""
HOOK = {
    "S3OutputPath": "s3://bucket/tensors/",
    "HookParameters": {"train.save_interval": "4", "eval.save_interval": "1"},
    "CollectionConfigurations": [
        {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "500"}},
        {
            "CollectionName": "relu_input",
            "CollectionParameters": {"include_regex": ".*relu_input", "save_interval": "500"},
        },
    ],
}
PROFILER = {"S3OutputPath": "s3://bucket/", "ProfilingIntervalInMilliseconds": 100}


def _script(tmp_path: Path, text: str) -> Path:
    place = tmp_path / "code"
    place.mkdir(exist_ok=True)
    script = place / "train.py"
    script.write_text(text)
    return script


def _trial(path: Path, monkeypatch: pytest.MonkeyPatch, compat: Path) -> Any:
    monkeypatch.syspath_prepend(str(compat))
    from smdebug.trials import create_trial

    return create_trial(str(path))


def test_a_script_that_knows_of_no_hook(
    make_job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(
        debug_hook=HOOK,
        debug_rules=(
            rule("VanishingGradient"),
            rule("LossNotDecreasing"),
            rule("TreeDepth"),
            rule("Overfit", patience="sometimes"),
            {
                "RuleConfigurationName": "Mine",
                "RuleEvaluatorImage": "example.com/rules:1",
                "RuleParameters": {"source_s3_uri": "s3://b/mine.py", "rule_to_invoke": "Mine"},
            },
        ),
        profiler=PROFILER,
        profiler_rules=(rule("ProfilerReport"), rule("LowGPUUtilization"), rule("Nonsense")),
    )
    job.attendant.environment()
    config = job.folder.host("algo-1").ml / "input" / "config" / "debughookconfig.json"
    assert json.loads(config.read_text())["LocalPath"] == "/opt/ml/output/tensors"
    job.attendant.start()
    rules, profiler = job.attendant.poll()
    assert rules["VanishingGradient"].status == "InProgress"
    assert profiler["LowGPUUtilization"].status == "InProgress"
    assert rules["Mine"].status == "Error"
    job.run(_script(tmp_path, PLAIN.format(rate=0.1)))
    rules, profiler = job.attendant.finish(succeeded=True)

    assert rules["VanishingGradient"].status == "NoIssuesFound", rules
    assert rules["LossNotDecreasing"].status == "NoIssuesFound", rules
    assert "XGBoost" in rules["TreeDepth"].details
    assert "patience is 'sometimes'" in rules["Overfit"].details
    assert "runs no images" in rules["Mine"].details
    assert {rules[name].status for name in ("TreeDepth", "Overfit", "Mine")} == {"Error"}
    assert profiler["ProfilerReport"].status == "NoIssuesFound", profiler
    assert profiler["LowGPUUtilization"].status == "NoIssuesFound"
    assert "no GPU" in profiler["LowGPUUtilization"].details
    assert profiler["Nonsense"].status == "Error"

    name, keys = job.spec.name, job.listing()
    report = f"{name}/rule-output/ProfilerReport/profiler-output"
    assert f"{report}/profiler-report.html" in keys
    assert f"{report}/profiler-report.ipynb" in keys
    reports = [k for k in keys if k.startswith(f"{report}/profiler-reports/")]
    assert {Path(k).stem for k in reports} == {
        *("StepOutlier", "OverallSystemUsage", "OverallFrameworkMetrics", "LowGPUUtilization"),
        *("MaxInitializationTime", "LoadBalancing", "IOBottleneck", "GPUMemoryIncrease"),
        *("Dataloader", "CPUBottleneck", "BatchSize"),
    }
    assert f"{name}/rule-output/VanishingGradient/VanishingGradient.json" in keys
    assert any(k.startswith(f"{name}/profiler-output/system/incremental/") for k in keys)
    assert any(k.startswith(f"{name}/profiler-output/framework/pevents/") for k in keys)

    copy = job.download(f"tensors/{name}/debug-output", tmp_path / "copy")
    trial = _trial(copy, monkeypatch, COMPAT)
    from smdebug.core.modes import ModeKeys

    loss = trial.tensor("CrossEntropyLoss_output_0")
    assert loss.steps(mode=ModeKeys.TRAIN) == [0, 4, 8, 12, 16, 20, 24, 28]
    assert loss.steps(mode=ModeKeys.EVAL) == [0, 1, 2, 3]
    assert "gradient/ResNet_fc.weight" in trial.tensor_names()
    assert trial.tensor("relu_input_0").steps(mode=ModeKeys.TRAIN) == [0]


def test_a_rule_that_finds_something_says_what(
    make_job: Callable[..., Any], tmp_path: Path
) -> None:
    action = json.dumps({"name": "StopTraining", "training_job_prefix": "pytorch"})
    job = make_job(
        debug_hook=HOOK,
        debug_rules=(rule("ExplodingTensor", action_json=action),),
    )
    job.attendant.environment()
    job.attendant.start()
    job.run(_script(tmp_path, PLAIN.format(rate=1e30)))
    rules, _ = job.attendant.finish(succeeded=True)
    found = rules["ExplodingTensor"]
    assert found.status == "IssuesFound", rules
    assert found.details.startswith(
        "RuleEvaluationConditionMet: Evaluation of the rule ExplodingTensor at step"
    )
    assert len(found.details.splitlines()) == 4
    job.attendant.poll()
    assert job.folder.stop.exists()


def test_a_script_that_trains_nothing(make_job: Callable[..., Any], tmp_path: Path) -> None:
    job = make_job(debug_hook=HOOK, debug_rules=(rule("VanishingGradient"),))
    job.attendant.environment()
    job.attendant.start()
    job.run(_script(tmp_path, "print('hello')"))
    rules, profiler = job.attendant.finish(succeeded=True)
    assert rules["VanishingGradient"].status == "Error"
    assert "no process of the job imported PyTorch" in rules["VanishingGradient"].details
    assert profiler == {}
    assert f"tensors/{job.spec.name}/debug-output/training_job_end.ts" in job.listing("tensors/")


def test_a_default_job_waits_for_no_judge(make_job: Callable[..., Any], tmp_path: Path) -> None:
    job = make_job(debug_hook={"S3OutputPath": "s3://bucket/"}, profiler=PROFILER)
    job.attendant.environment()
    job.attendant.start()
    begun = time.monotonic()
    assert job.attendant.finish() == ({}, {})
    assert time.monotonic() - begun < 5
    assert job.attendant._judge.returncode is not None


def test_whoever_finishes_need_not_have_started(
    make_job: Callable[..., Any], tmp_path: Path
) -> None:
    """A supervisor that takes over after the script's end has neither judge nor sampler."""
    from houndsight.jobs.debugging import Attendant

    job = make_job(
        debug_hook=HOOK, debug_rules=(rule("Nonsense"),), profiler_rules=(rule("ProfilerReport"),)
    )
    job.attendant.environment()
    job.attendant.start()
    first = job.attendant._judge
    rules, profiler = Attendant(job.spec, job.folder, job.objects).finish(succeeded=False)
    assert "There is no rule 'Nonsense'" in rules["Nonsense"].details
    assert profiler["ProfilerReport"].status == "NoIssuesFound"
    first.wait(20)
    assert job.listing(f"{job.spec.name}/rule-output/ProfilerReport/profiler-output/profiler-rep")


def test_a_job_that_never_started_is_finished(make_job: Callable[..., Any]) -> None:
    job = make_job(debug_hook=HOOK, debug_rules=(rule("Overfit"),), profiler=PROFILER)
    rules, _ = job.attendant.finish(succeeded=False)
    assert "never started" in rules["Overfit"].details


@pytest.mark.slow
def test_a_supervisor_that_takes_over_goes_on(make_job: Callable[..., Any], tmp_path: Path) -> None:
    from houndsight.jobs.debugging import Attendant

    job = make_job(debug_hook=HOOK, debug_rules=(rule("LossNotDecreasing"),))
    job.attendant.environment()
    job.attendant.start()
    first = job.attendant._judge
    job.run(_script(tmp_path, PLAIN.format(rate=0.1)))
    first.kill()
    first.wait()
    job.attendant = Attendant(job.spec, job.folder, job.objects)
    job.attendant.start()
    rules, _ = job.attendant.finish()
    assert rules["LossNotDecreasing"].status == "NoIssuesFound"


def test_an_update_of_the_profiler_is_followed(make_job: Callable[..., Any]) -> None:
    job = make_job(profiler=PROFILER)
    job.attendant.start()
    assert job.attendant._sampler.interval_s == 0.1
    update = job.attendant.places.profiler_update
    update.write_text(json.dumps({"ProfilingIntervalInMilliseconds": 1000}))
    job.attendant.poll()
    assert job.attendant._sampler.interval_s == 1.0
    update.write_text(json.dumps({"DisableProfiler": True}))
    os.utime(update, (1, 1))
    job.attendant.poll()
    assert job.attendant._sampler is None


def test_the_supervisor_stays_small() -> None:
    """No PyTorch, NumPy or pyarrow where there is a supervisor for each job."""
    code = "import sys, houndsight.jobs.debugging.attend; "
    code += "sys.exit(bool({'torch', 'numpy', 'pyarrow', 'altair'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
