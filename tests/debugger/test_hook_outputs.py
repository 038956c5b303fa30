"""What the hook tells of the gradient at the outputs, of photos' make and of evaluated weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from houndsight.debugger import Hook
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Statistic

Loss = Callable[[Tensor, Tensor], Tensor]


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 4))


def photos(step: int, size: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.rand(size, 3, 8, 8, generator=generator)
    return images, torch.randint(0, 4, (size,), generator=generator)


def recorded(folder: Path, loss: Loss, criterion: nn.Module, change: float = 0.0) -> History:
    """Six steps, and an evaluation of weights that were changed by so much for it."""
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    with Hook(network, loss=criterion, optimizer=optimizer, folder=folder) as hook:
        for step in range(6):
            images, labels = photos(step)
            optimizer.zero_grad()
            loss(network(images), labels).backward()
            optimizer.step()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(change)
            network(photos(9)[0].flip(2))
        return hook.history()


@pytest.mark.parametrize(
    ("make", "scale", "rows"),
    [
        (lambda c: c, 1.0, 1.0),
        (lambda c: lambda o, t: -c(o, t), -1.0, 1.0),
        (lambda c: lambda o, t: 100 * c(o, t), 100.0, 1.0),
        (lambda c: lambda o, t: c(o[:2], t[:2]), None, 0.25),
    ],
)
def test_the_gradient_at_the_outputs_is_set_beside_that_of_the_loss(
    make: Callable[[nn.Module], Loss], scale: float | None, rows: float, tmp_path: Path
) -> None:
    criterion = nn.CrossEntropyLoss()
    history = recorded(tmp_path, make(criterion), criterion)
    assert history.scalar("gradient_rows").values[:, 0] == pytest.approx(rows)
    found = history.scalar("gradient_scale").values
    if scale is None:
        assert not found.size
    else:
        assert found[:, 0] == pytest.approx(scale, rel=1e-4)
        alignment = history.scalar("gradient_alignment").values[:, 0]
        assert alignment == pytest.approx(np.sign(scale), abs=1e-4)


def test_a_summed_loss_is_as_many_times_longer_as_there_are_examples(tmp_path: Path) -> None:
    criterion = nn.CrossEntropyLoss(reduction="sum")
    history = recorded(tmp_path, criterion, criterion)
    assert history.scalar("gradient_scale").values[:, 0] == pytest.approx(8, rel=1e-4)


def test_noise_is_rough_and_the_weights_of_an_evaluation_are_there(tmp_path: Path) -> None:
    criterion = nn.CrossEntropyLoss()
    history = recorded(tmp_path, criterion, criterion, change=0.5)
    rough = history.series(Group.INPUTS, Statistic.ROUGHNESS)
    assert rough.names == ("image",)
    assert float(rough.values.mean()) == pytest.approx(1, abs=0.15)
    assert len(history.series(Group.INPUTS, Statistic.TILT, Mode.EVAL))
    evaluated = history.series(Group.PARAMETERS, Statistic.NORM, Mode.EVAL)
    trained = history.series(Group.PARAMETERS, Statistic.NORM)
    assert evaluated.steps.tolist() == [6]
    assert (evaluated.of("3.weight") > 2 * trained.of("3.weight")[-1]).all()


def test_steps_without_a_backward_pass_are_flagged(tmp_path: Path) -> None:
    network, criterion = model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    with Hook(network, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(5):
            images, labels = photos(step)
            criterion(network(images), labels)
            optimizer.step()
    history = hook.history()
    assert history.last_step == 0
    assert len(history.flag("stepped", Mode.EVAL)) == 5


def test_batches_for_which_no_step_comes_are_not_kept_for_ever(tmp_path: Path) -> None:
    network, criterion = model(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    with Hook(network, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(300):
            images, labels = photos(step, size=2)
            criterion(network(images), labels).backward()
        assert len(hook.collector._trained) <= 256
    assert len(hook.history().flag("training")) == 300
