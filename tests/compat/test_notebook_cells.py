"""Cells as public notebooks have them, over what a job left in S3."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from fake_aws import FakeAws

from houndsight.debugger.saved import SavedStep, SavedWriter
from houndsight.jobs.debugging.sampler import SystemSampler
from houndsight.jobs.debugging.uploads import Mirror
from houndsight.jobs.objects import ObjectStore

JOB = "pytorch-training-1"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    objects = ObjectStore(tmp_path / "objects")
    objects.create_bucket("bucket", "us-east-1")
    described = {
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ProfilerConfig": {"S3OutputPath": "s3://bucket/", "ProfilingIntervalInMilliseconds": 500},
    }
    fake = FakeAws(objects, described)
    monkeypatch.setattr(boto3, "client", fake)
    yield fake
    objects.close()


@pytest.fixture
def artifacts(aws: FakeAws, tmp_path: Path) -> str:
    """What `estimator.latest_job_debugger_artifacts_path()` names, after a training."""
    writer = SavedWriter(tmp_path / "tensors" / "rank-0" / "saved")
    step = 0
    for mode, count in (("TRAIN", 20), ("EVAL", 5)):
        for number in range(count):
            saved = SavedStep(step=step, mode=mode, mode_step=number, time=time.time())
            saved.tensors["CrossEntropyLoss_output_0"] = np.float32(2.0 / (number + 1))
            if mode == "TRAIN" and number % 10 == 0:
                saved.tensors["gradient/ResNet_fc.weight"] = np.full((3, 8), number, np.float32)
                saved.tensors["layer1.0.relu_input_0"] = np.zeros((4, 8), np.float32)
                saved.reductions["ResNet_fc.weight"] = {"mean": 0.5, "abs_max": float("inf")}
            writer.write(saved)
            step += 1
    writer.write_collections({"gradients": {"include_regex": ["^gradient"], "tensor_names": []}})
    writer.end()
    uri = f"s3://bucket/{JOB}/debug-output"
    Mirror(aws.objects, tmp_path / "tensors", uri).sync()
    return uri


def test_plotting_the_loss(artifacts: str) -> None:
    from smdebug.core.modes import ModeKeys
    from smdebug.trials import create_trial

    # The two functions that 120 notebooks have from the course's material.
    def get_data(trial: Any, tname: str, mode: Any) -> tuple[list[int], list[Any]]:
        tensor = trial.tensor(tname)
        steps = tensor.steps(mode=mode)
        vals = []
        for s in steps:
            vals.append(tensor.value(s, mode=mode))  # noqa: PERF401
        return steps, vals

    trial = create_trial(artifacts)
    steps_train, vals_train = get_data(trial, "CrossEntropyLoss_output_0", mode=ModeKeys.TRAIN)
    steps_eval, vals_eval = get_data(trial, "CrossEntropyLoss_output_0", mode=ModeKeys.EVAL)
    assert steps_train == list(range(20))
    assert steps_eval == list(range(5))
    assert vals_train[1] == 1.0
    assert vals_eval[4] == pytest.approx(0.4)
    assert len(trial.tensor("CrossEntropyLoss_output_0").steps(mode=ModeKeys.EVAL)) == 5
    assert trial.tensor("CrossEntropyLoss_output_0").steps(mode=ModeKeys.PREDICT) == []


def test_looking_around(artifacts: str) -> None:
    from smdebug import modes
    from smdebug.trials import create_trial

    trial = create_trial(artifacts)
    assert trial.tensor_names() == [
        "CrossEntropyLoss_output_0",
        "ResNet_fc.weight",
        "gradient/ResNet_fc.weight",
        "layer1.0.relu_input_0",
    ]
    assert trial.tensor_names(regex="relu") == ["layer1.0.relu_input_0"]
    assert trial.tensor_names(collection="gradients") == ["gradient/ResNet_fc.weight"]
    assert trial.tensor_names(mode=modes.EVAL) == ["CrossEntropyLoss_output_0"]
    assert trial.tensor_names(step=1, mode=modes.TRAIN) == ["CrossEntropyLoss_output_0"]
    assert trial.tensor_names(regex="nothing") == []
    assert list(trial.modes()) == [modes.TRAIN, modes.EVAL]
    assert trial.steps(mode=modes.EVAL) == [0, 1, 2, 3, 4]
    assert trial.global_step(modes.EVAL, 2) == 22
    assert trial.mode(22) is modes.EVAL
    assert trial.mode_step(22) == 2
    assert trial.workers() == ["worker_0"]
    assert trial.has_tensor("nothing") is False
    tensor = trial.tensor("gradient/ResNet_fc.weight")
    assert tensor.prev_steps(15, 1, mode=modes.TRAIN) == [10]
    assert tensor.reduction_value(10, "mean", mode=modes.TRAIN) == 10
    assert tensor.shape(10) == (3, 8)
    saved = trial.tensor("ResNet_fc.weight")
    assert saved.reduction_value(0, "max", abs=True) == np.inf
    assert "tensor_names=" in repr(trial)


def test_what_was_not_saved_is_named(artifacts: str) -> None:
    from smdebug import exceptions, modes
    from smdebug.trials import create_trial

    trial = create_trial(artifacts)
    with pytest.raises(exceptions.TensorUnavailable, match="Saved were CrossEntropyLoss_output_0"):
        trial.tensor("CrossEntropyLoss_output0")
    tensor = trial.tensor("gradient/ResNet_fc.weight")
    with pytest.raises(exceptions.TensorUnavailableForStep):
        tensor.value(3, mode=modes.TRAIN)
    with pytest.raises(exceptions.NoMoreData):
        tensor.value(900)
    with pytest.raises(exceptions.InvalidWorker):
        tensor.value(0, worker="worker_7")
    with pytest.raises(ValueError, match="Only one of"):
        trial.tensor_names(regex="a", collection="b")


def test_one_tensor_of_a_large_step_is_read_alone(artifacts: str, aws: FakeAws) -> None:
    from smdebug.trials import create_trial

    trial = create_trial(artifacts)
    aws.got.clear()
    assert trial.tensor("layer1.0.relu_input_0").value(0).shape == (4, 8)
    files = [key for key in aws.got if key.endswith(".safetensors")]
    assert len(files) == 3  # the header's length, the header, the tensor


def test_a_job_that_saved_nothing_keeps_nobody_waiting(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smdebug import exceptions
    from smdebug.trials import create_trial, trial

    aws.objects.put("bucket", "job-2/debug-output/training_job_end.ts", b"")
    with pytest.raises(exceptions.MissingCollectionFiles, match="No tensors were saved"):
        create_trial("s3://bucket/job-2/debug-output")
    monkeypatch.setattr(trial, "AWAIT_SECONDS", 0.0)
    with pytest.raises(exceptions.MissingCollectionFiles, match="the path is another one"):
        create_trial("s3://bucket/nowhere")
    with pytest.raises(exceptions.IndexReaderException, match="cannot be listed"):
        create_trial("s3://other-bucket/x")


def test_a_trial_follows_a_training(tmp_path: Path) -> None:
    from smdebug import modes
    from smdebug.trials import create_trial

    writer = SavedWriter(tmp_path / "run" / "tensors" / "rank-0" / "saved")

    def save(number: int) -> None:
        saved = SavedStep(step=number, mode="TRAIN", mode_step=number)
        saved.tensors["loss_output_0"] = np.array(float(number))
        writer.write(saved)

    save(0)
    trial = create_trial(str(tmp_path / "run"))
    tensor = trial.tensor("loss_output_0")
    assert tensor.steps(mode=modes.TRAIN) == [0]
    save(1)
    with (writer.folder / "steps.jsonl").open("a") as file:
        file.write('{"step": 2, "mode": "TR')
    assert tensor.steps(mode=modes.TRAIN) == [0, 1]
    assert not trial.loaded_all_steps
    writer.end()
    assert tensor.steps() == [0, 1]
    assert trial.loaded_all_steps


def test_a_rule_of_ones_own(artifacts: str) -> None:
    from smdebug.exceptions import NoMoreData, RuleEvaluationConditionMet
    from smdebug.rules import Rule, invoke_rule
    from smdebug.trials import create_trial

    class SmallGradient(Rule):
        def __init__(self, base_trial: Any, threshold: float = 0.5) -> None:
            super().__init__(base_trial, action_str="")
            self.threshold, self.seen = threshold, []

        def set_required_tensors(self, step: int) -> None:
            for name in self.base_trial.tensor_names(regex="^gradient", step=step):
                self.req_tensors.add(name, steps=[step])

        def invoke_at_step(self, step: int) -> bool:
            self.seen.append(step)
            return any(
                abs(tensor.value(step)).mean() > self.threshold for tensor in self.req_tensors.get()
            )

    rule = SmallGradient(create_trial(artifacts))
    with pytest.raises(RuleEvaluationConditionMet, match="SmallGradient at step 10"):
        invoke_rule(rule, raise_eval_cond=True)
    assert rule.seen == list(range(11))
    invoke_rule(rule, start_step=0, end_step=25)
    with pytest.raises(NoMoreData):
        invoke_rule(rule, start_step=24)


def test_the_profiler(aws: FakeAws, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sampler = SystemSampler(tmp_path / "profiler-output")
    now = time.time()
    for number in range(5):
        sampler.write(now + number, list(sampler.sample()))
    events = [
        {"name": "process_name", "ph": "M", "pid": 0, "args": {"name": "Step:ModeKeys.TRAIN"}},
        {"name": "Step", "ph": "X", "pid": 0, "ts": int(now * 1e6), "dur": 1000, "args": {}},
    ]
    place = tmp_path / "profiler-output" / "framework" / "pevents" / "2026112306"
    place.mkdir(parents=True)
    name = f"{int(now * 1e6)}_0000-algo-1_pythontimeline.json"
    (place / name).write_text(json.dumps(events))
    uri = f"s3://bucket/{JOB}/profiler-output"
    Mirror(aws.objects, tmp_path / "profiler-output", uri).sync()

    from smdebug.profiler.analysis.notebook_utils.timeline_charts import TimelineCharts
    from smdebug.profiler.analysis.notebook_utils.training_job import TrainingJob

    tj = TrainingJob(JOB, "us-east-1")
    tj.wait_for_sys_profiling_data_to_be_available()
    system_metrics_reader = tj.get_systems_metrics_reader()
    system_metrics_reader.refresh_event_file_list()
    last_timestamp = system_metrics_reader.get_timestamp_of_latest_available_file()
    events = system_metrics_reader.get_events(0, last_timestamp)
    cores = {e.name for e in events if e.dimension == "CPUUtilization"}
    assert len([e for e in events if e.type == "cpu"]) == 5 * 2 * len(cores)
    assert {e.node_id for e in events} == {"algo-1"}
    charts = TimelineCharts(
        system_metrics_reader,
        framework_metrics_reader=None,
        select_dimensions=["CPU", "GPU"],
        select_events=["total"],
    )
    assert charts.chart is not None
    assert "CPUUtilization-nodeid:algo-1" in charts.system_metrics
    assert charts.chart.to_dict(validate=False)["vconcat"]
    every = TimelineCharts(system_metrics_reader, tj.get_framework_metrics_reader())
    every.find_time_annotations([0, 4])
    assert "Spent 1.0 ms (cumulative time) in Step" in capsys.readouterr().out
    tj.wait_for_framework_profiling_data_to_be_available()


def test_a_job_without_a_profiler_is_said(aws: FakeAws) -> None:
    from smdebug.profiler.analysis.notebook_utils.training_job import TrainingJob

    with pytest.raises(RuntimeError, match="left no profiler data of the system"):
        TrainingJob(JOB, "us-east-1").wait_for_sys_profiling_data_to_be_available()
    aws.described.pop("ProfilerConfig")
    with pytest.raises(RuntimeError, match="has no profiler"):
        TrainingJob(JOB).wait_for_sys_profiling_data_to_be_available()
