"""What the doctor takes of a training, and what its checks and repairs show, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from houndsight.debugger.doctor.probe import Probe

Loss = Callable[[Tensor, Tensor], Tensor]


def data(steps: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(16, 4, generator=generator)
    inputs = torch.randn(steps, 32, 16, generator=generator)
    return [(x, (x @ weights).argmax(1)) for x in inputs]


def net(*last: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4), *last
    )


def sgd(model: nn.Module, rate: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


def _never() -> None:
    raise AssertionError("it ends before there were enough steps")


def examined(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *causes: Mapping[str, Any],
    loss: Loss = F.cross_entropy,
    zero: bool = True,
    clip: float | None = None,
    steps: int = 30,
) -> dict[str, Any]:
    """The verdict on a training of these."""
    orders = {"causes": list(causes), "seconds": 30, "steps": steps}
    probe = Probe(model, folder=folder, orders=orders, leave=lambda: None, end=_never)
    for inputs, labels in data(steps):
        if zero:
            optimizer.zero_grad()
        loss(model(inputs), labels).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    probe.close()
    assert not [f.title for f in probe.run.findings()]
    verdict: dict[str, Any] = json.loads((folder / "doctor.json").read_text())
    return verdict


def check(verdict: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in verdict["checks"] if name in c["check"])
    return found


def test_the_scripts_steps_are_done_again_exactly_where_nothing_is_random(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    verdict = examined(tmp_path, model, sgd(model), clip=0.2)
    assert verdict["faithful"] and verdict["notes"] == []
    assert verdict["own"]["losses"] == pytest.approx(verdict["recorded"], rel=1e-4)


def test_the_training_is_left_as_it_is(tmp_path: Path) -> None:
    alone, probed = net(), net()
    for model in (alone, probed):
        torch.manual_seed(7)
        optimizer = sgd(model)
        if model is probed:
            examined(tmp_path, model, optimizer, {"name": "learning-rate-too-high"})
        else:
            for inputs, labels in data(30):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
    for (name, a), (_, b) in zip(
        alone.state_dict().items(), probed.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_a_learning_rate_that_is_too_high_is_confirmed_and_repaired(tmp_path: Path) -> None:
    model = net()
    cause = {"name": "learning-rate-too-high", "change": {"learning_rate": 1.0}}
    verdict = examined(tmp_path, model, sgd(model, 30.0), cause)
    shown = check(verdict, "range test")
    assert shown["confirms"] == ["learning-rate-too-high"] and 1e-3 < shown["rate"] < 5
    (trial,) = verdict["trials"]
    assert trial["better"] and trial["change"] == {"learning_rate": shown["rate"]}
    assert check(verdict, "single batch")["refutes"]


def test_what_a_check_finds_is_tried_though_no_rule_spoke(tmp_path: Path) -> None:
    model = net()
    (trial,) = examined(tmp_path, model, sgd(model, 30.0))["trials"]
    assert trial["cause"] == "learning-rate-too-high" and trial["better"]


def test_a_learning_rate_that_is_too_low_is_confirmed_and_repaired(tmp_path: Path) -> None:
    model = net()
    verdict = examined(tmp_path, model, sgd(model, 1e-6), {"name": "learning-rate-too-low"})
    assert check(verdict, "range test")["confirms"] == ["learning-rate-too-low"]
    assert verdict["trials"][0]["better"]


@pytest.mark.parametrize("inside", [True, False])
def test_a_softmax_before_the_loss_is_taken_away(tmp_path: Path, inside: bool) -> None:
    model = net(nn.Softmax(1)) if inside else net()

    def outside(output: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(output.softmax(1), labels)

    cause = {"name": "softmax-before-loss", "change": {"remove": "softmax"}}
    loss = F.cross_entropy if inside else outside
    verdict = examined(tmp_path, model, sgd(model, 0.02), cause, loss=loss)
    (trial,) = verdict["trials"]
    assert trial["change"] == {"remove": "softmax"} and trial["better"], trial
    assert check(verdict, "single batch")["confirms"] == ["softmax-before-loss"]


def test_a_missing_zero_grad_is_done_again_and_repaired(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    cause = {"name": "zero-grad-missing", "change": {"optimizer.zero_grad": True}}
    verdict = examined(tmp_path, model, sgd(model, 0.3), cause, zero=False)
    assert verdict["faithful"] and verdict["trials"][0]["better"]


def test_training_in_evaluation_mode_is_seen(tmp_path: Path) -> None:
    model = net().eval()
    cause = {"name": "train-mode-missing", "change": {"model.train": True}}
    verdict = examined(tmp_path, model, sgd(model), cause)
    shown = check(verdict, "other mode")
    assert shown["confirms"] == ["train-mode-missing"] and "BatchNorm, dropout" in shown["text"]
    assert verdict["trials"][0]["text"] == "model.train() before training"


def test_forgotten_parameters_are_given_to_the_optimizer(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.SGD(model[2].parameters(), 0.01, momentum=0.9)
    cause = {"name": "parameters-not-in-optimizer", "change": {"optimizer.parameters": "all"}}
    (trial,) = examined(tmp_path, model, optimizer, cause)["trials"]
    assert trial["end"] < trial["own_end"]


def test_a_change_that_some_steps_cannot_show_is_told_as_such(tmp_path: Path) -> None:
    model = net()
    cause = {"name": "eval-mode-missing", "change": {"model.eval": True}}
    assert examined(tmp_path, model, sgd(model), cause)["trials"] == [
        {"cause": "eval-mode-missing"}
    ]


def test_a_loss_of_the_scripts_own_is_not_guessed_at(tmp_path: Path) -> None:
    model = net()

    def odd(output: Tensor, labels: Tensor) -> Tensor:
        return ((output - output.mean()) ** 3).abs().mean() + labels.sum() * 0

    verdict = examined(tmp_path, model, sgd(model), loss=odd)
    assert verdict["checks"] == [] and "cannot be computed again" in verdict["notes"][0]


def test_a_schedule_and_two_optimizers_are_followed(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    probe = Probe(model, folder=tmp_path, orders={"seconds": 30}, leave=lambda: None, end=_never)
    optimizers = torch.optim.Adam(model[0].parameters(), 0.01), sgd(model[2])
    schedule = torch.optim.lr_scheduler.StepLR(optimizers[1], 3, 0.5)
    for inputs, labels in data(12):
        F.cross_entropy(model(inputs), labels).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        schedule.step()
    probe.close()
    verdict = json.loads((tmp_path / "doctor.json").read_text())
    assert verdict["own"]["losses"] == pytest.approx(verdict["recorded"], rel=1e-3)


def test_a_model_that_cannot_be_copied_ends_it_with_a_word(tmp_path: Path) -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: dict[int, Any]) -> Stubborn:
            raise RuntimeError("one of a kind")

    ends: list[bool] = []
    model = Stubborn(16, 4)
    optimizer = sgd(model)
    orders = {"seconds": 30, "steps": 5}
    probe = Probe(
        model, folder=tmp_path, orders=orders, leave=lambda: None, end=lambda: ends.append(True)
    )
    for inputs, labels in data(3):
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    probe.close()
    assert ends and "one of a kind" in probe.run.findings()[0].title


def test_it_ends_after_the_steps_that_were_wanted(tmp_path: Path) -> None:
    ends: list[int] = []
    model = net()
    optimizer = sgd(model)
    orders = {"seconds": 30, "steps": 5}
    probe = Probe(
        model, folder=tmp_path, orders=orders, leave=lambda: None, end=lambda: ends.append(1)
    )
    for inputs, labels in data(9):
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    assert ends == [1] and len(json.loads((tmp_path / "doctor.json").read_text())["recorded"]) == 5
    probe.close()
