"""The hook's own interface, and that it changes nothing of the training."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hook_scripts import ResNet, batches
from torch import nn


def _train(model: nn.Module, criterion: nn.Module, hook: Any = None, *, steps: int = 4) -> float:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = torch.zeros(())
    for data, target in batches(steps):
        optimizer.zero_grad()
        loss = criterion(model(data), target)
        loss.backward()
        optimizer.step()
        if hook is not None:
            hook.save_scalar("accuracy", 0.25)
            hook.record_tensor_value("extra", loss.detach() * 2)
    return loss.item()


def _trial(folder: Path) -> Any:
    from smdebug.trials import create_trial

    return create_trial(str(folder))


def test_a_hook_of_ones_own(tmp_path: Path) -> None:
    import smdebug.pytorch as smd

    hook = smd.Hook(
        out_dir=tmp_path / "out",
        save_config=smd.SaveConfig(save_interval=2),
        include_collections=["weights", "gradients", "mine"],
        include_regex=["extra_output"],
        reduction_config=smd.ReductionConfig(reductions=["mean", "max"], norms=["l2"]),
    )
    model, criterion = ResNet(), nn.CrossEntropyLoss()
    hook.get_collection("mine").add_module_tensors(model.fc, inputs=True, outputs=True)
    hook.get_collection("mine").reduction_config = smd.ReductionConfig(
        save_raw_tensor=True, save_shape=True
    )
    assert smd.get_hook() is hook
    hook.register_module(model)
    hook.register_loss(criterion)
    hook.set_mode(smd.modes.TRAIN)
    _train(model, criterion, hook)
    hook.close()
    trial = _trial(tmp_path / "out")
    assert trial.steps() == [0, 1, 2, 3]  # a scalar is saved at every step
    assert trial.tensor("scalar/accuracy").values() == {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}
    assert trial.tensor("extra_output_0").steps() == [0, 2]
    assert trial.tensor("fc_input_0").shape(0) == (12, 8)
    assert trial.tensor("fc_output_0").value(2).shape == (12, 3)
    gradient = trial.tensor("gradient/ResNet_stem.weight")
    assert set(gradient.reduction_values(0)) == {("mean", False), ("max", False), ("l2", False)}
    assert gradient.reduction_value(0, "l2") > 0
    with pytest.raises(Exception, match="You might want to query for the reductions"):
        gradient.value(0)
    loss = trial.tensor("CrossEntropyLoss_output_0").value(0)
    assert loss.shape == ()
    assert math.isfinite(loss)


def test_what_is_saved_is_what_was_computed(tmp_path: Path) -> None:
    import smdebug.pytorch as smd

    torch.manual_seed(1)
    model, criterion = ResNet(), nn.CrossEntropyLoss()
    twin = copy.deepcopy(model)
    hook = smd.Hook(tmp_path / "out", save_config=smd.SaveConfig(save_interval=1), save_all=True)
    hook.register_hook(model)
    hook.register_loss(criterion)
    data, target = batches(1)[0]
    criterion(model(data), target).backward()
    hook.close()
    trial = _trial(tmp_path / "out")

    expected = criterion(twin(data), target)
    expected.backward()
    saved = {name: trial.tensor(name).value(0) for name in trial.tensor_names()}
    np.testing.assert_allclose(saved["CrossEntropyLoss_output_0"], expected.item(), rtol=1e-6)
    for name, parameter in twin.named_parameters():
        np.testing.assert_array_equal(saved[f"ResNet_{name}"], parameter.detach().numpy())
        assert parameter.grad is not None
        np.testing.assert_allclose(
            saved[f"gradient/ResNet_{name}"], parameter.grad.numpy(), rtol=1e-5, atol=1e-7
        )
    np.testing.assert_array_equal(saved["ResNet_input_0"], data.numpy())
    np.testing.assert_array_equal(saved["CrossEntropyLoss_input_1"], target.numpy())
    assert {"layer1.0.relu_output_1", "fc.1_output_0", "ResNet_output_0"} <= set(saved)


def test_the_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    import smdebug.pytorch as smd

    torch.manual_seed(2)
    model = ResNet()
    twin = copy.deepcopy(model)
    without = _train(twin, nn.CrossEntropyLoss())
    hook = smd.Hook(tmp_path / "out", save_config=smd.SaveConfig(save_interval=1), save_all=True)
    hook.register_hook(model)
    criterion = nn.CrossEntropyLoss()
    hook.register_loss(criterion)
    assert _train(model, criterion) == without
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other)
    # A copy of the model is a plain one, and so is a saved one.
    assert _train(copy.deepcopy(model), nn.CrossEntropyLoss()) is not None
    pickle.loads(pickle.dumps(model))
    assert hook.step == 3
    hook.close()
    assert not model._forward_pre_hooks
    assert not model.fc._forward_hooks


def test_accumulated_gradients_are_saved_by_micro_batch(tmp_path: Path) -> None:
    import smdebug.pytorch as smd

    model, criterion = ResNet(), nn.CrossEntropyLoss()
    hook = smd.Hook(
        tmp_path / "out",
        save_config=smd.SaveConfig(save_interval=1),
        include_collections=["gradients"],
    )
    hook.register_hook(model)
    sums = torch.zeros(8, 4)
    for data, target in batches(3):
        criterion(model(data), target).backward()
    assert model.stem.weight.grad is not None
    hook.close()
    trial = _trial(tmp_path / "out")
    for value in trial.tensor("gradient/ResNet_stem.weight").values().values():
        sums += torch.from_numpy(value)
    torch.testing.assert_close(sums, model.stem.weight.grad)


def test_big_activations_keep_their_first_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import smdebug.pytorch as smd

    from houndsight.debugger.hook import saving

    monkeypatch.setattr(saving, "EXAMPLES_BYTES", 3 * 8 * 4)
    hook = smd.Hook(tmp_path / "out", include_regex=["stem_output"])
    model = ResNet()
    hook.register_hook(model)
    model(batches(1)[0][0])
    hook.close()
    tensor = _trial(tmp_path / "out").tensor("stem_output_0")
    assert tensor.value(0).shape == (3, 8)
    assert tensor.shape(0) == (12, 8)


def test_bfloat16_and_losses_that_are_not_finite_are_saved(tmp_path: Path) -> None:
    import smdebug.pytorch as smd

    hook = smd.Hook(tmp_path / "out", include_collections=["weights"])
    model = nn.Sequential(nn.Linear(4, 8)).to(torch.bfloat16)
    hook.register_hook(model)
    out = model(torch.ones(2, 4, dtype=torch.bfloat16))
    hook.record_tensor_value("loss", out.float().sum() * float("nan"))
    hook.close()
    trial = _trial(tmp_path / "out")
    assert trial.tensor("Sequential_0.weight").value(0).dtype == np.float32
    assert math.isnan(trial.tensor("loss_output_0").value(0))


def test_mistakes_are_named(tmp_path: Path) -> None:
    import smdebug.pytorch as smd
    from smdebug.exceptions import SMDebugError, SMDebugTypeError, SMDebugValueError

    hook = smd.Hook(tmp_path / "out")
    with pytest.raises(SMDebugValueError, match="Invalid mode train"):
        hook.set_mode("train")
    with pytest.raises(SMDebugTypeError, match="record_tensor_value"):
        hook.register_loss(torch.nn.functional.cross_entropy)
    with pytest.raises(SMDebugError, match=r"torch\.nn\.Module"):
        hook.register_module("model")
    with pytest.raises(SMDebugTypeError, match="scalar/x"):
        hook.save_scalar("x", torch.ones(3))
    with pytest.raises(SMDebugValueError, match="reductions can only be one of"):
        smd.ReductionConfig(reductions=["median"])
    with pytest.raises(SMDebugValueError, match="save_interval"):
        smd.SaveConfig(save_interval="often")


def test_a_fault_of_the_hook_leaves_the_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import smdebug.pytorch as smd

    hook = smd.Hook(tmp_path / "out")
    model, criterion = ResNet(), nn.CrossEntropyLoss()
    hook.register_hook(model)
    hook.register_loss(criterion)

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no disk")

    _train(model, criterion, steps=1)
    assert hook._saver is not None
    monkeypatch.setattr(hook._saver.writer, "write", broken)
    assert math.isfinite(_train(model, criterion))
    hook.close()
