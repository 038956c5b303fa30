"""Save and reduction configurations, collections, small helpers: as SageMaker has them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({}, [0, 500]),
        ({"save_interval": 200}, [0, 200, 400, 600]),
        ({"save_interval": "300", "start_step": "100"}, [300, 600]),
        ({"save_interval": 100, "end_step": 201}, [0, 100, 200]),
        ({"save_interval": 500, "save_steps": [3, 7]}, [0, 3, 7, 500]),
        ({"save_interval": 0, "save_steps": [3]}, [3]),
    ],
)
def test_when_is_saved(options: Any, saved: list[int]) -> None:
    from smdebug import SaveConfigMode

    config = SaveConfigMode(**options)
    assert [step for step in range(601) if config.should_save_step(step)][: len(saved)] == saved


def test_modes_have_their_own() -> None:
    from smdebug.pytorch import SaveConfig, SaveConfigMode, modes

    config = SaveConfig({modes.TRAIN: SaveConfigMode(save_interval=2)})
    assert config.should_save_step(modes.TRAIN, 4)
    assert not config.should_save_step(modes.EVAL, 4)
    assert SaveConfig.from_json(config.to_json()).to_json_dict() == config.to_json_dict()
    assert SaveConfig.parse({"TRAIN": {"save_interval": 2}}).should_save_step(modes.TRAIN, 4)


def test_reductions_in_json() -> None:
    from smdebug import ReductionConfig

    config = ReductionConfig.from_dict({"reductions": "mean, abs_max,l2_norm,abs_l1"})
    assert config is not None
    assert config.kinds == ("mean", "l2", "abs_max", "abs_l1")
    assert ReductionConfig.from_json(config.to_json()) == config


def test_a_hook_configuration_as_sagemaker_writes_it(tmp_path: Path) -> None:
    from smdebug.core.json_config import read_hook_config
    from smdebug.core.modes import ModeKeys
    from smdebug.pytorch import Hook

    path = tmp_path / "config.json"
    path.write_text(
        '{"S3OutputPath": "s3://b/p", "LocalPath": "' + str(tmp_path / "out") + '",'
        '"HookParameters": {"train.save_interval": "100", "eval.save_interval": "10",'
        ' "save_steps": "1, 2", "save_all": "False", "include_regex": "relu,fc"},'
        '"CollectionConfigurations": [{"CollectionName": "biases"},'
        ' {"CollectionName": "relu", "CollectionParameters":'
        '  {"include_regex": ".*relu_output", "train.save_interval": "7"}}]}'
    )
    config = read_hook_config(str(path))
    assert config.save_config is not None
    assert config.save_config.should_save_step(ModeKeys.EVAL, 30)
    assert config.save_config.should_save_step(ModeKeys.TRAIN, 2)
    assert not config.save_config.should_save_step(ModeKeys.TRAIN, 30)
    hook = Hook.create_from_json_file(str(path))
    assert set(hook.include_collections) == {"biases", "relu", "losses", "default"}
    relu = hook.get_collection("relu").save_config
    assert relu is not None
    assert relu.should_save_step(ModeKeys.TRAIN, 14)
    assert relu.should_save_step(ModeKeys.EVAL, 10)
    assert hook.get_collection("default").include_regex == ["relu", "fc"]


def test_small_helpers() -> None:
    from smdebug.core.utils import is_s3
    from smdebug.profiler.utils import str2bool

    assert is_s3("s3://bucket/a/b") == (True, "bucket", "a/b")
    assert is_s3("/tmp/x") == (False, None, None)
    assert [str2bool(v) for v in ("True", "yes", "0", "off", True)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    with pytest.raises(ValueError, match="truth"):
        str2bool("perhaps")


@pytest.mark.parametrize(
    "module",
    [
        "smdebug.trials",
        "smdebug.core.modes",
        "smdebug.rules",
        "smdebug.profiler.utils",
        "smdebug.profiler.analysis.notebook_utils.training_job",
    ],
)
def test_notebooks_do_not_wait_for_pytorch(module: str, smdebug_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(smdebug_path)!r}); import {module}; "
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", _with_site(code)], check=False)
    assert done.returncode == 0


def _with_site(code: str) -> str:
    """`-S` leaves out what `.pth` files of this environment import."""
    places = [p for p in sys.path if p.endswith("-packages")]
    source = str(Path(__file__).parents[2] / "src")
    return f"import sys; sys.path += {[*places, source]!r}; {code}"
