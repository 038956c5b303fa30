"""Repairs written into a script: only the lines that matter, and only where it is certain."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libcst", reason="the extra `doctor` is not installed")

from houndsight.debugger.doctor.patches import propose

SCRIPT = """\
import argparse

import torch
from torch import nn, optim  # kept
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=8.0, help="rate")
args = parser.parse_args()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.fc(x)   # odd  spacing stays
        return F.softmax(x, dim=1)


model = Net()
optimizer = optim.SGD(model.fc.parameters(), lr=args.lr, momentum=0.9)
criterion = nn.NLLLoss()
for epoch in range(3):
    for x, y in loader:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        correct = (model(held).argmax(1) == labels).sum()
"""


def changed(change: Mapping[str, Any], source: str = SCRIPT, cause: str = "") -> tuple[str, str]:
    """Lines taken out and put in, each joined."""
    made = propose(source, "train.py", cause, change)
    assert made.diff, made.reason
    lines = made.diff.splitlines()[2:]
    out = [line[1:].strip() for line in lines if line.startswith("-")]
    new = [line[1:].strip() for line in lines if line.startswith("+")]
    return "; ".join(out), "; ".join(new)


@pytest.mark.parametrize(
    ("change", "out", "new"),
    [
        (
            {"learning_rate": 0.05},
            'parser.add_argument("--lr", type=float, default=8.0, help="rate")',
            'parser.add_argument("--lr", type=float, default=0.05, help="rate")',
        ),
        ({"remove": "softmax"}, "return F.softmax(x, dim=1)", "return x"),
        ({"optimizer.zero_grad": True}, "", "optimizer.zero_grad()"),
        ({"model.train": True}, "", "model.train()"),
        ({"model.eval": True}, "", "model.train(); model.eval()"),
        (
            {"optimizer.parameters": "all"},
            "optimizer = optim.SGD(model.fc.parameters(), lr=args.lr, momentum=0.9)",
            "optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
        ),
        (
            {"momentum": 0.5},
            "optimizer = optim.SGD(model.fc.parameters(), lr=args.lr, momentum=0.9)",
            "optimizer = optim.SGD(model.fc.parameters(), lr=args.lr, momentum=0.5)",
        ),
        (
            {"weight_decay": 1e-4},
            "optimizer = optim.SGD(model.fc.parameters(), lr=args.lr, momentum=0.9)",
            "optimizer = optim.SGD(model.fc.parameters(), lr=args.lr, momentum=0.9, "
            "weight_decay=0.0001)",
        ),
        (
            {"loss": "cross_entropy"},
            "criterion = nn.NLLLoss()",
            "criterion = nn.CrossEntropyLoss()",
        ),
        (
            {"clip_norm": 1.0},
            "",
            "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1)",
        ),
    ],
)
def test_the_change_is_the_line_that_it_should_be(
    change: dict[str, Any], out: str, new: str
) -> None:
    assert changed(change) == (out, new)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("optim.SGD(model.parameters(), 0.5)", "optim.SGD(model.parameters(), 0.05)"),
        ("optim.Adam(model.parameters())", "optim.Adam(model.parameters(), lr=0.05)"),
        ("optim.Adam(model.parameters(), lr=1)", "optim.Adam(model.parameters(), lr=0.05)"),
    ],
)
def test_the_learning_rate_is_found_where_it_stands(before: str, after: str) -> None:
    assert changed({"learning_rate": 0.05}, f"opt = {before}\n") == (
        f"opt = {before}",
        f"opt = {after}",
    )


@pytest.mark.parametrize(
    ("given", "used", "new"),
    [
        ("LR = 3e-1  # high", "lr=LR", "LR = 0.05  # high"),
        (
            'config = {"lr": 0.3, "epochs": 2}',
            'lr=config["lr"]',
            'config = {"lr": 0.05, "epochs": 2}',
        ),
        ("def f(lr=0.3): pass", "lr=lr", "def f(lr=0.05): pass"),
        ("rate = 0.3", "lr=float(rate)", "rate = 0.05"),
    ],
)
def test_a_number_is_changed_where_it_is_written_down(given: str, used: str, new: str) -> None:
    source = f"{given}\nopt = torch.optim.SGD(net.parameters(), {used})\n"
    assert changed({"learning_rate": 0.05}, source) == (given, new)


FUNCTIONS = """\
import torch

def train(model, loader, criterion, optimizer, epoch):
    for x, y in loader:
        out = model(x)
        loss = criterion(out, y)
        loss.backward()
        optimizer.step()

def test(net, loader, criterion):
    with torch.no_grad():
        for x, y in loader:
            criterion(net(x), y)

def main():
    net = make()
    opt = torch.optim.Adam(net.fc.parameters(), lr=0.1)
    scheduler = StepLR(opt, 1)
    train(net, loader, criterion, opt, 1)
    scheduler.step()
"""


@pytest.mark.parametrize(
    ("change", "new"),
    [
        ({"optimizer.zero_grad": True}, "optimizer.zero_grad()"),
        ({"model.train": True}, "model.train()"),
        ({"model.eval": True}, "model.train(); net.eval()"),
        ({"clip_norm": 2.0}, "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=2)"),
    ],
)
def test_names_are_those_of_the_function_that_is_changed(change: dict[str, Any], new: str) -> None:
    assert changed(change, FUNCTIONS) == ("", new)


@pytest.mark.parametrize(
    ("source", "change", "why"),
    [
        ("x = 1\n", {"learning_rate": 0.1}, "no call that makes a PyTorch optimizer"),
        (
            "o = optim.SGD(m.parameters(), lr=base * 2)\n",
            {"learning_rate": 0.1},
            "computed: base",
        ),
        ("a = SGD(m.parameters())\nb = Adam(n.parameters())\n", {"learning_rate": 0.1}, "2 call"),
        ("y = x.softmax(1)\nz = y.softmax(1)\n", {"remove": "softmax"}, "2 softmax"),
        ("while 1 print\n", {"learning_rate": 0.1}, "does not parse"),
        (SCRIPT, {"balance": "weights"}, "not one of a few lines"),
    ],
)
def test_where_it_is_not_certain_the_reason_is_given(
    source: str, change: dict[str, Any], why: str
) -> None:
    made = propose(source, "train.py", "", change)
    assert not made.diff and why in made.reason


def test_what_the_command_line_sets_is_told_and_not_changed() -> None:
    made = propose(SCRIPT, "train.py", "", {"learning_rate": 0.05}, ["--lr=8"])
    assert made.reason == "The command line sets it: give --lr 0.05."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "m = nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1))",
            "m = nn.Sequential(nn.Linear(2, 2))",
        ),
        ("s = nn.Softmax(1)", "s = nn.Identity()"),
        ("p = torch.softmax(f(x), 1)", "p = f(x)"),
        ("p = f(x).softmax(dim=1)", "p = f(x)"),
    ],
)
def test_a_softmax_is_taken_away_in_every_form(before: str, after: str) -> None:
    assert changed({"remove": "softmax"}, f"{before}\n") == (before, after)


def test_a_misspelt_freeze_is_mended() -> None:
    source = "for p in m.parameters():\n    p.require_grad = False\n"
    change = {"backbone.requires_grad": False}
    assert changed(change, source) == ("p.require_grad = False", "p.requires_grad = False")


@pytest.mark.skipif(shutil.which("patch") is None, reason="there is no `patch` here")
def test_the_diff_can_be_applied(tmp_path: Path) -> None:
    script = SCRIPT.removesuffix("\n")
    (tmp_path / "train.py").write_text(script)
    made = propose(script, "train.py", "", {"model.eval": True})
    subprocess.run(["patch", "-p1"], input=made.diff, text=True, cwd=tmp_path, check=True)
    after = (tmp_path / "train.py").read_text()
    assert "    model.eval()\n    with torch.no_grad():" in after
    assert "    model.train()\n    for x, y in loader:" in after


LISTED = """\
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [nn.Linear(8, 8) for _ in range(3)]
        self.sizes = [8, 8]

    def forward(self, x):
        for block in self.blocks:
            x = F.dropout(block(x), 0.5)
        return F.dropout(x, 0.1, training=self.training)


model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.1, maximize=True)
"""


@pytest.mark.parametrize(
    ("change", "out", "new"),
    [
        (
            {"dropout.training": "self.training"},
            "x = F.dropout(block(x), 0.5)",
            "x = F.dropout(block(x), 0.5, training=self.training)",
        ),
        (
            {"model.modules": "registered"},
            "self.blocks = [nn.Linear(8, 8) for _ in range(3)]",
            "self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])",
        ),
        (
            {"optimizer.maximize": False},
            "optimizer = optim.SGD(model.parameters(), lr=0.1, maximize=True)",
            "optimizer = optim.SGD(model.parameters(), lr=0.1, maximize=False)",
        ),
        (
            {"dampening": 0.0},
            "optimizer = optim.SGD(model.parameters(), lr=0.1, maximize=True)",
            "optimizer = optim.SGD(model.parameters(), lr=0.1, maximize=True, dampening=0.0)",
        ),
    ],
)
def test_layers_dropout_and_settings(change: Mapping[str, Any], out: str, new: str) -> None:
    assert changed(change, LISTED) == (out, new)


@pytest.mark.parametrize("change", [{"dropout.training": "self.training"}, {"model.modules": 1}])
def test_what_is_not_there_is_not_changed(change: Mapping[str, Any]) -> None:
    assert propose(SCRIPT, "train.py", "", change).reason
