"""Small networks, and loops as public scripts write them around the hook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["BATCHES", "SCRIPTS", "Net", "ResNet", "batches", "evaluate", "train"]

BATCHES = 5


class Block(nn.Module):
    """Uses one rectifier twice, in place, as torchvision's blocks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.second(self.relu(self.first(x))) + x)


class ResNet(nn.Module):
    """Named as torchvision's is, with a frozen trunk and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Block())
        self.fc: nn.Module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.layer1(self.relu(self.stem(x))))
        return found


class Net(nn.Module):
    """Calls functions where others have modules."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


def batches(count: int = BATCHES) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(12, 4, generator=generator),
            torch.randint(0, 3, (12,), generator=generator),
        )
        for _ in range(count)
    ]


def train(model: Any, loader: Any, criterion: Any, optimizer: Any, hook: Any, smd: Any) -> None:
    """The loop that most have, a copy of the guide's."""
    model.train()
    hook.set_mode(smd.modes.TRAIN)
    for data, target in loader:
        optimizer.zero_grad()
        loss = criterion(model(data), target)
        loss.backward()
        optimizer.step()


def evaluate(model: Any, loader: Any, criterion: Any, hook: Any, smd: Any) -> None:
    model.eval()
    hook.set_mode(smd.modes.EVAL)
    with torch.no_grad():
        for data, target in loader:
            criterion(model(data), target)


def _frozen() -> Any:
    model = ResNet()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("fc.")
    return model


def register_both(smd: Any) -> None:
    """`create_from_json_file`, `register_hook`, `register_loss`, `set_mode`: 85 of them."""
    model, criterion = _frozen(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.fc.parameters(), lr=0.01)
    hook = smd.Hook.create_from_json_file()
    hook.register_hook(model)
    hook.register_loss(criterion)
    for _ in range(2):
        train(model, batches(), criterion, optimizer, hook, smd)
        evaluate(model, batches(2), criterion, hook, smd)


def register_module(smd: Any) -> None:
    """`register_module`, and the hook passed on as an argument that may be None."""
    model, criterion = _frozen(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
    hook = smd.Hook.create_from_json_file()
    if hook:
        hook.register_module(model)
        hook.register_hook(model)  # twice, as some do
        hook.register_loss(criterion)
    for _ in range(2):
        train(model, batches(), criterion, optimizer, hook, smd)
        evaluate(model, batches(2), criterion, hook, smd)


def get_hook_first(smd: Any) -> None:
    """`get_hook(create_if_not_exists=True)` at the top, `get_hook()` in the functions: 29."""
    hook = smd.get_hook(create_if_not_exists=True)
    model, criterion = _frozen(), nn.CrossEntropyLoss()
    hook.register_module(model)
    smd.get_hook().register_loss(criterion)
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
    for _ in range(2):
        train(model, batches(), criterion, optimizer, smd.get_hook(), smd)
        evaluate(model, batches(2), criterion, smd.get_hook(), smd)


def loss_unregistered(smd: Any) -> None:
    """The loss never registered: 49 of 124."""
    model, criterion = _frozen(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
    hook = smd.Hook.create_from_json_file()
    hook.register_hook(model)
    for _ in range(2):
        train(model, batches(), criterion, optimizer, hook, smd)
        evaluate(model, batches(2), criterion, hook, smd)


def functional_loss(smd: Any) -> None:
    """`F.nll_loss`, of which a hook cannot be told."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    hook = smd.Hook.create_from_json_file()
    hook.register_hook(model)
    for _ in range(2):
        train(model, batches(), F.nll_loss, optimizer, hook, smd)
        evaluate(model, batches(2), F.nll_loss, hook, smd)


def negative_loss_module(smd: Any) -> None:
    """`nn.NLLLoss` registered: about 10."""
    model, criterion = Net(), nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    hook = smd.get_hook(create_if_not_exists=True)
    hook.register_module(model)
    hook.register_loss(criterion)
    for _ in range(2):
        train(model, batches(), criterion, optimizer, hook, smd)
        evaluate(model, batches(2), criterion, hook, smd)


def no_mode(smd: Any) -> None:
    """smdebug without `set_mode`: 4."""
    model, criterion = _frozen(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
    hook = smd.Hook.create_from_json_file()
    hook.register_hook(model)
    hook.register_loss(criterion)
    for _ in range(2):
        model.train()
        for data, target in batches():
            optimizer.zero_grad()
            criterion(model(data), target).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for data, target in batches(2):
                criterion(model(data), target)


SCRIPTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "register_both": (register_both, "CrossEntropyLoss_output_0"),
    "register_module": (register_module, "CrossEntropyLoss_output_0"),
    "get_hook_first": (get_hook_first, "CrossEntropyLoss_output_0"),
    "loss_unregistered": (loss_unregistered, "CrossEntropyLoss_output_0"),
    "functional_loss": (functional_loss, "NLLLoss_output_0"),
    "negative_loss_module": (negative_loss_module, "NLLLoss_output_0"),
    "no_mode": (no_mode, "CrossEntropyLoss_output_0"),
}
"""Each trains 10 steps and evaluates 4 times; and the loss that its trial has."""
