"""Finding the model that is trained, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as modules
from torch.optim.optimizer import Optimizer

from houndsight.debugger import Hook, TensorLog
from houndsight.debugger.watch.attach import Watcher
from houndsight.debugger.watch.orders import Orders, notes
from houndsight.runs import Run


@pytest.fixture
def watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    """One that does not judge: no evaluator is started."""
    monkeypatch.setattr("houndsight.debugger.hook.hook.Live", _Silent)
    before = Optimizer.__init__
    Run.create(tmp_path / "run", kind="job", config={})
    (tmp_path / "run" / "logs").mkdir()
    watcher = Watcher(Orders(folder=str(tmp_path / "run"), rules="none"))
    watcher.begin()
    yield watcher
    watcher.end()
    assert Optimizer.__init__ is before and not modules._global_forward_pre_hooks


class _Silent:
    judging = False

    def __init__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.backbone(x).relu())
        return scores


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.inner(x)
        return scores


def step(model: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    F.cross_entropy(model(torch.randn(8, 8)), torch.randint(0, 4, (8,))).backward()
    for optimizer in optimizers:
        optimizer.step()


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), 0.1)


def attached(watcher: Watcher) -> list[str]:
    return [n["model"] for n in notes(watcher.orders.folder) if n["kind"] == "attached"]


def steps(folder: Path) -> int:
    return len(TensorLog(folder).history().scalar("loss"))


def test_the_first_forward_is_recorded_and_the_global_hook_goes_off(
    watcher: Watcher, tmp_path: Path
) -> None:
    model = Whole()
    optimizer = sgd(model)
    assert modules._global_forward_pre_hooks
    for _ in range(5):
        step(model, optimizer)
    assert not modules._global_forward_pre_hooks
    watcher.end()
    assert attached(watcher) == ["Whole"] and steps(tmp_path / "run") == 5
    history = TensorLog(tmp_path / "run").history()
    assert history.structure.head == "head" and history.structure.parameters[0].group == 0


def test_the_outermost_module_is_taken_whatever_is_called_before(watcher: Watcher) -> None:
    model, teacher = Whole(), Whole()
    optimizers = sgd(model.backbone), sgd(model.head)
    teacher(torch.randn(2, 8))
    with torch.no_grad():
        model.backbone(torch.randn(2, 8))
    around = Around(model)
    for _ in range(3):
        step(around, *optimizers)
    assert [hook.model for hook in watcher.hooks] == [around]
    assert len(watcher.hooks[0].collector.optimizers) == 2


def test_a_part_is_taken_only_when_the_whole_is_never_called(
    watcher: Watcher, tmp_path: Path
) -> None:
    model = Whole()
    optimizer = sgd(model)
    for _ in range(4):
        optimizer.zero_grad()
        scores = model.head(model.backbone(torch.randn(8, 8)).relu())
        F.cross_entropy(scores, torch.randint(0, 4, (8,))).backward()
        optimizer.step()
    assert attached(watcher) == ["Linear"] and watcher.hooks[0].model is model.backbone


def test_only_the_head_may_be_trained(watcher: Watcher) -> None:
    model = Whole()
    model.backbone.requires_grad_(False)
    step(model, torch.optim.SGD(model.head.parameters(), 0.1))
    assert attached(watcher) == ["Whole"]


def test_another_optimizer_for_the_same_model_goes_on_in_its_log(
    watcher: Watcher, tmp_path: Path
) -> None:
    model = Whole()
    for rate in (0.1, 0.01):
        optimizer = torch.optim.SGD(model.parameters(), rate)
        for _ in range(3):
            step(Around(model) if rate < 0.1 else model, optimizer)
    watcher.end()
    assert attached(watcher) == ["Whole"]
    assert steps(tmp_path / "run") >= 3


def test_models_one_after_the_other_each_have_a_log_and_are_let_go(
    watcher: Watcher, tmp_path: Path
) -> None:
    for count in (4, 3, 5):
        model = Whole()
        optimizer = sgd(model)
        for _ in range(count):
            step(model, optimizer)
    assert [hook.model for hook in watcher.hooks] == [model]
    watcher.end()
    run = tmp_path / "run"
    assert [steps(f) for f in (run, run / "watched" / "model-2", run / "watched" / "model-3")] == [
        4,
        3,
        5,
    ]
    assert Run.open(run / "watched" / "model-3").kind == "job"


def test_models_trained_together_are_both_watched(watcher: Watcher) -> None:
    makes, judges = nn.Linear(8, 8), Whole()
    theirs, mine = sgd(makes), sgd(judges)
    for _ in range(3):
        mine.zero_grad()
        F.cross_entropy(judges(makes(torch.randn(8, 8)).detach()), torch.zeros(8).long()).backward()
        mine.step()
        theirs.zero_grad()
        F.cross_entropy(judges(makes(torch.randn(8, 8))), torch.ones(8).long()).backward()
        theirs.step()
    assert sorted(attached(watcher)) == ["Linear", "Whole"] and len(watcher.hooks) == 2


def test_hundreds_of_models_do_not_fill_the_disk(watcher: Watcher, tmp_path: Path) -> None:
    for _ in range(11):
        model = nn.Linear(8, 4)
        optimizer = sgd(model)
        for _ in range(3):
            step(model, optimizer)
    assert len(attached(watcher)) == 8
    assert [n["models"] for n in notes(tmp_path / "run") if n["kind"] == "enough"]
    assert not modules._global_forward_pre_hooks


def test_an_optimizer_of_no_module_ends_the_looking(watcher: Watcher) -> None:
    pixels = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.SGD([pixels], 0.1)
    model = Whole()
    model(torch.randn(2, 8))
    (pixels**2).sum().backward()
    optimizer.step()
    assert attached(watcher) == []
    step(model, sgd(model))
    assert attached(watcher) == ["Whole"]


def test_a_fault_of_ours_leaves_the_training_alone(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Watcher, "_hook", broken)
    model = Whole()
    optimizer = sgd(model)
    before = model.head.weight.detach().clone()
    step(model, optimizer)
    assert not torch.equal(before, model.head.weight)
    assert [n["text"] for n in notes(watcher.orders.folder) if n["kind"] == "fault"] == [
        "RuntimeError: out of order"
    ]
    assert not modules._global_forward_pre_hooks


def test_a_hook_that_is_there_already_is_left(watcher: Watcher, tmp_path: Path) -> None:
    model = Whole()
    optimizer = sgd(model)
    with Hook(model, optimizer=optimizer, folder=tmp_path / "own", rules="none"):
        step(model, optimizer)
    assert attached(watcher) == []
    assert [n["model"] for n in notes(watcher.orders.folder) if n["kind"] == "hooked"] == ["Whole"]
