"""Hook code as public scripts have it leaves the tensors that their notebooks read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hook_scripts import SCRIPTS

EVERY_STEP = {"train.save_interval": "1", "eval.save_interval": "1"}


def _trial(run: Path) -> Any:
    from smdebug.trials import create_trial

    return create_trial(str(run))


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_the_loss_is_saved_by_mode(name: str, job: Callable[..., Path]) -> None:
    import smdebug.pytorch as smd
    from smdebug.core.modes import ModeKeys

    script, loss = SCRIPTS[name]
    run = job(EVERY_STEP)
    script(smd)
    smd.get_hook().close()
    trial = _trial(run)
    assert loss in trial.tensor_names()
    tensor = trial.tensor(loss)
    assert tensor.steps(mode=ModeKeys.TRAIN) == list(range(10))
    assert tensor.steps(mode=ModeKeys.EVAL) == list(range(4))
    assert set(trial.modes()) == {ModeKeys.TRAIN, ModeKeys.EVAL}
    values = [tensor.value(step, mode=ModeKeys.TRAIN) for step in tensor.steps(ModeKeys.TRAIN)]
    assert np.isfinite(values).all()
    # The rules' log of the same training is beside it.
    from houndsight.debugger import TensorLog

    losses = TensorLog(run).history().scalar("loss")
    np.testing.assert_allclose(losses.of("loss"), values, rtol=1e-5)


def test_collections_of_the_rules_name_tensors_as_sagemaker_does(job: Callable[..., Path]) -> None:
    import smdebug.pytorch as smd
    from smdebug.core.modes import ModeKeys

    run = job(
        EVERY_STEP,
        [
            {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "5"}},
            {
                "CollectionName": "relu_input",
                "CollectionParameters": {"include_regex": ".*relu_input", "save_interval": "5"},
            },
            {"CollectionName": "losses", "CollectionParameters": {"save_interval": "500"}},
            {"CollectionName": "weights", "CollectionParameters": None},
        ],
    )
    SCRIPTS["register_both"][0](smd)
    smd.get_hook().close()
    trial = _trial(run)
    assert trial.tensor_names(collection="gradients") == [
        "gradient/ResNet_fc.0.bias",
        "gradient/ResNet_fc.0.weight",
        "gradient/ResNet_fc.2.bias",
        "gradient/ResNet_fc.2.weight",
    ]
    assert trial.tensor_names(regex=".*relu_input") == [
        "layer1.0.relu_input_0",
        "layer1.0.relu_input_1",
        "relu_input_0",
    ]
    assert "ResNet_layer1.0.first.weight" in trial.tensor_names(collection="weights")
    gradient = trial.tensor("gradient/ResNet_fc.0.weight")
    assert gradient.steps(mode=ModeKeys.TRAIN) == [0, 5]
    assert gradient.steps(mode=ModeKeys.EVAL) == []
    assert gradient.value(0, mode=ModeKeys.TRAIN).shape == (8, 8)
    # A rule's interval for the loss does not thin out what the person asked for.
    loss = trial.tensor("CrossEntropyLoss_output_0")
    assert loss.steps(mode=ModeKeys.TRAIN) == list(range(10))
    # The input of a rectifier in place, as it was before.
    assert trial.tensor("layer1.0.relu_input_0").value(0).min() < 0


def test_the_default_configuration_saves_every_500_steps(job: Callable[..., Path]) -> None:
    import smdebug.pytorch as smd
    from smdebug.core.modes import ModeKeys

    run = job()
    SCRIPTS["register_both"][0](smd)
    smd.get_hook().close()
    trial = _trial(run)
    assert trial.tensor_names() == ["CrossEntropyLoss_output_0"]
    assert trial.tensor("CrossEntropyLoss_output_0").steps(mode=ModeKeys.TRAIN) == [0]


def test_a_job_without_a_hook_configured_lets_the_script_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import smdebug.pytorch as smd

    monkeypatch.setenv("TRAINING_JOB_NAME", "job-1")
    monkeypatch.setenv("HOUNDSIGHT_JOB_HOOK", "")
    SCRIPTS["register_both"][0](smd)
    assert smd.get_hook().step == -1


def test_outside_of_jobs_a_missing_configuration_is_said(tmp_path: Path) -> None:
    import smdebug.pytorch as smd

    with pytest.raises(FileNotFoundError, match=r"smd\.Hook\(out_dir=…\)"):
        smd.Hook.create_from_json_file()
    assert smd.get_hook(create_if_not_exists=True) is None
