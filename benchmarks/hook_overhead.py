"""Claim: watching a whole training costs 3 % of a ResNet-18's time and 5 % of a small CNN's.

Two trainings of the same network from the same seed take turns, a block of steps each, one of
them hooked with everything on. The hooked block's time has in it what its writer's thread does,
until all is on disk, and the process that judges the rules, which is stopped meanwhile when it
is the other's turn. The ratio is of the blocks' mean times, with a bootstrap interval over
pairs of blocks. Goals: 1.03 on a ResNet-18 (224 px, batch 16), 1.05 on a small CNN
(convolutions of 32, 64 and 128 with BatchNorm, 32 px) at batch 64, 1.10 at batch 16; on a GPU
1.02 on a ResNet-50 (bf16, batch 128), eager and compiled.

    python benchmarks/hook_overhead.py [--cases cnn-64 cnn-16] [--blocks 40] [--steps 64]
"""

from __future__ import annotations

import argparse
import importlib
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch
from _common import RESAMPLES, Table, machine
from torch import Tensor, nn
from torchvision.models import resnet18, resnet50

from houndsight.debugger import Hook
from houndsight.debugger.evaluator import start_evaluator

WARM_STEPS = 80
"""Every one of the first 64 steps is sampled, which is not what a long training costs."""
BATCHES = 4
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A training to be watched."""

    name: str
    text: str
    make: Callable[[], nn.Module]
    batch: int
    size: int
    classes: int
    goal: float
    device: str = "cpu"
    bfloat16: bool = False
    compiled: bool = False


def small_cnn() -> nn.Module:
    """Three blocks of convolution, BatchNorm, ReLU and pooling."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


CASES = (
    Case("resnet18", "ResNet-18, 224 px, batch 16", resnet18, 16, 224, 1000, 1.03),
    Case("cnn-64", "small CNN, 32 px, batch 64", small_cnn, 64, 32, 10, 1.05),
    Case("cnn-16", "small CNN, 32 px, batch 16", small_cnn, 16, 32, 10, 1.10),
    Case("resnet50", "ResNet-50, bf16, batch 128", resnet50, 128, 224, 1000, 1.02, "cuda", True),
    Case(
        "resnet50-compiled",
        "ResNet-50, bf16, batch 128, compiled",
        resnet50,
        128,
        224,
        1000,
        1.02,
        "cuda",
        True,
        True,
    ),
)


class Side:
    """One of the two trainings."""

    def __init__(self, case: Case, folder: Path | None, watcher: str = "houndsight") -> None:
        torch.manual_seed(0)
        self.case = case
        model = case.make().to(case.device)
        called: Any = torch.compile(model) if case.compiled else model
        self.called = called
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
        self.data = [_batch(case) for _ in range(BATCHES)]
        self.hook: Hook | None = None
        self.evaluator: psutil.Process | None = None
        if folder is not None and watcher == "houndsight":
            self.hook = Hook(
                self.called, loss=self.criterion, optimizer=self.optimizer, folder=folder
            )
            self.run(1)
            self.evaluator = psutil.Process(start_evaluator(folder).pid)
        elif folder is not None:
            _watch_by_smdebug(model, self.criterion, folder)

    def run(self, steps: int) -> tuple[float, float]:
        """Wall and CPU seconds of `steps` steps, with all that watching them takes."""
        if self.evaluator is not None:
            self.evaluator.send_signal(signal.SIGCONT)
        wall, used = time.perf_counter(), self._cpu()
        for step in range(steps):
            self._step(*self.data[step % BATCHES])
        if self.case.device == "cuda":
            torch.cuda.synchronize()
        if self.hook is not None:
            self.hook.flush()
        took = time.perf_counter() - wall, self._cpu() - used
        if self.evaluator is not None:
            self.evaluator.send_signal(signal.SIGSTOP)
        return took

    def _step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        kind = self.case.device
        with torch.autocast(kind, torch.bfloat16) if self.case.bfloat16 else nullcontext():
            loss = self.criterion(self.called(images), labels)
        loss.backward()
        self.optimizer.step()

    def _cpu(self) -> float:
        own = time.process_time()
        if self.evaluator is None:
            return own
        times = self.evaluator.cpu_times()
        return own + float(times.user + times.system)

    def close(self) -> None:
        """End the hook and its evaluator."""
        if self.evaluator is not None:
            self.evaluator.send_signal(signal.SIGCONT)
        if self.hook is not None:
            self.hook.close()


def _batch(case: Case) -> tuple[Tensor, Tensor]:
    images = torch.randn(case.batch, 3, case.size, case.size)
    return images.to(case.device), torch.randint(case.classes, (case.batch,)).to(case.device)


def _watch_by_smdebug(model: nn.Module, criterion: nn.Module, folder: Path) -> None:
    """Losses, weights and gradients at every step, as the original saves them."""
    smd: Any = importlib.import_module("smdebug.pytorch")
    hook = smd.Hook(
        out_dir=str(folder / "smdebug"),
        save_config=smd.SaveConfig(save_interval=1),
        include_collections=["losses", "weights", "gradients"],
    )
    hook.register_hook(model)
    hook.register_loss(criterion)


def measure(case: Case, blocks: int, steps: int, watcher: str) -> list[str]:
    """A row of the table."""
    with tempfile.TemporaryDirectory(prefix="houndsight-hook-") as name:
        folder = Path(name)
        plain, hooked = Side(case, None), Side(case, folder, watcher)
        counted = _graphs()
        for side in (plain, hooked):
            side.run(min(WARM_STEPS, max(steps, 8)))
        counted = _graphs() - counted
        before = _bytes(folder)
        times = np.array([_pair(plain, hooked, steps, first=i % 2) for i in range(blocks)])
        written = (_bytes(folder) - before) / (blocks * steps)
        hooked.close()
    wall = _ratio(times[:, 1, 0], times[:, 0, 0])
    cpu = _ratio(times[:, 1, 1], times[:, 0, 1])
    return [
        f"{case.text}, {watcher}",
        f"{times[:, 0, 0].mean() / steps * 1e3:.2f}",
        "{:.3f} ({:.3f}-{:.3f})".format(*wall),
        "{:.3f} ({:.3f}-{:.3f})".format(*cpu),
        f"{case.goal:.2f}",
        f"{written:,.0f}",
        str(counted) if case.compiled else "",
    ]


def _pair(plain: Side, hooked: Side, steps: int, first: int) -> list[tuple[float, float]]:
    """[plain, hooked], run in this order or the other."""
    if first:
        after = hooked.run(steps)
        return [plain.run(steps), after]
    return [plain.run(steps), hooked.run(steps)]


def _ratio(hooked: Floats, plain: Floats) -> tuple[float, float, float]:
    """Ratio of the means with the bootstrap's 95 % interval over pairs of blocks."""
    drawn = np.random.default_rng(0).integers(0, len(plain), (RESAMPLES, len(plain)))
    ratios = hooked[drawn].mean(1) / plain[drawn].mean(1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(hooked.mean() / plain.mean()), float(low), float(high)


def _graphs() -> int:
    """Graphs compiled so far: two trainings make two, unless the hook broke or remade one."""
    counters: Any = importlib.import_module("torch._dynamo.utils").counters
    return int(counters["stats"].get("unique_graphs", 0))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure the chosen cases and print the table."""
    arguments = _arguments()
    watchers = ["houndsight"]
    if arguments.smdebug:
        watchers.append("smdebug")
    rows: list[Sequence[str]] = []
    for case in CASES:
        if arguments.cases and case.name not in arguments.cases:
            continue
        if case.device == "cuda" and not torch.cuda.is_available():
            print(f"Skipped: {case.text} needs a GPU.")
            continue
        rows += [measure(case, arguments.blocks, arguments.steps, w) for w in watchers]
    head = (
        "training",
        "ms a step without",
        "time over without (95 %)",
        "CPU time over without (95 %)",
        "goal",
        "bytes a step",
        "graphs",
    )
    print(Table(head, rows))
    print(f"{arguments.blocks} pairs of blocks of {arguments.steps} steps each. {machine()}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="*", choices=[case.name for case in CASES])
    parser.add_argument("--blocks", type=int, default=40, help="of each training")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument(
        "--smdebug", action="store_true", help="measure smdebug beside it, if it is installed"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
