"""The hook never changes a result, never breaks a training, and leaves nothing behind."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from houndsight.debugger import Hook
from houndsight.debugger.record import Group, Mode, Statistic

Losses = Callable[[Tensor, Tensor], Tensor]


class Block(nn.Module):
    """A residual block with in-place ReLUs, called twice by its owner."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.bn(self.conv(x)) + x)
        return out


class Net(nn.Module):
    """What is known to trip hooks: in-place ReLU, dropout, a module called twice, F.relu."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.block = Block(width)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(width, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        x = self.block(self.block(x))
        scores: Tensor = self.fc(self.drop(F.relu_(x.mean((2, 3)))))
        return scores


class Transformer(nn.Module):
    """PyTorch's encoder, which computes otherwise in evaluation when somebody looks on."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 64, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.fc = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images.flatten(1)).unsqueeze(1).expand(-1, 3, -1)
        scores: Tensor = self.fc(self.encoder(tokens).mean(1))
        return scores


def batches(count: int, size: int = 6) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield (
            torch.randn(size, 3, 8, 8, generator=generator),
            torch.randint(0, 5, (size,), generator=generator),
        )


def run(
    folder: Path | None,
    *,
    make: Callable[[], nn.Module] = Net,
    optimizer: Callable[[Any], torch.optim.Optimizer] = lambda p: torch.optim.SGD(
        p, 0.05, momentum=0.9, weight_decay=1e-3
    ),
    criterion: Losses | nn.Module | None = None,
    context: Callable[[], Any] = nullcontext,
    accumulate: int = 1,
    clip: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
    compiled: bool = False,
    steps: int = 7,
) -> tuple[list[Tensor], list[float], Hook | None]:
    """Train and evaluate; everything that could differ: weights, buffers, losses, generator."""
    torch.manual_seed(3)
    model = make().to(memory_format=memory_format)
    called: Any = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
    loss_function = criterion or nn.CrossEntropyLoss()
    stepper = optimizer(model.parameters())
    hook = None
    if folder is not None:
        given = loss_function if isinstance(loss_function, nn.Module) else None
        hook = Hook(called, loss=given, optimizer=stepper, folder=folder, save_interval=3)
    losses = []
    for step in range(steps):
        stepper.zero_grad()
        for images, labels in batches(accumulate):
            with context():
                loss = loss_function(called(images.to(memory_format=memory_format)), labels)
            (loss / accumulate).backward()
            losses.append(float(loss.detach()))
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        stepper.step()
        if step % 3 == 2:
            model.eval()
            with torch.no_grad(), context():
                losses += [float(loss_function(called(x), y)) for x, y in batches(2)]
            model.train()
    tensors = [*model.state_dict().values(), torch.get_rng_state()]
    if hook is not None:
        assert hook.alive
        hook.close()
    return [t.detach().clone() for t in tensors], losses, hook


class Own(nn.Module):
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, F.one_hot(labels, 5).float(), label_smoothing=0.1)


def bfloat16() -> Any:
    return torch.autocast("cpu", torch.bfloat16)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "adam": {"optimizer": lambda p: torch.optim.AdamW(p, 1e-2)},
    "functional loss": {"criterion": lambda s, y: F.cross_entropy(s, y)},
    "own criterion": {"criterion": Own()},
    "autocast": {"context": bfloat16},
    "accumulation and clipping": {"accumulate": 3, "clip": True},
    "channels last": {"memory_format": torch.channels_last},
    "transformer": {"make": Transformer},
    "bfloat16": {"make": lambda: Net().bfloat16(), "context": bfloat16},
    "compiled": {"compiled": True},
}


on_early_python = pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")
"""PyTorch's own word on Python 3.13.0, which it advises against for compiled models."""


@on_early_python
@pytest.mark.parametrize("case", CASES)
def test_a_run_with_the_hook_is_bit_identical_to_one_without(case: str, tmp_path: Path) -> None:
    without = run(None, **CASES[case])
    within = run(tmp_path, **CASES[case])
    assert within[1] == without[1]
    for hooked, plain in zip(within[0], without[0], strict=True):
        assert torch.equal(hooked, plain)
    hook = within[2]
    assert hook is not None
    from houndsight.debugger import read_history

    history = read_history(tmp_path)
    assert len(history.scalar("loss")) == 7
    assert len(history.scalar("loss", Mode.EVAL)) == 4
    assert len(history.series(Group.GRADIENTS, Statistic.NORM)) == 7
    assert len(history.series(Group.ACTIVATIONS, Statistic.STD))


@on_early_python
def test_a_compiled_model_gets_no_graph_break_and_no_recompilation(tmp_path: Path) -> None:
    torch._dynamo.reset()
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model = Net()
    called = torch.compile(model, backend=backend, fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(called, optimizer=optimizer, folder=tmp_path, save_interval=2) as hook:
        for images, labels in batches(6):
            optimizer.zero_grad()
            F.cross_entropy(called(images), labels).backward()
            optimizer.step()
        history = hook.history()
    assert len(graphs) == 1
    assert history.structure.compiled
    inner = history.series(Group.ACTIVATIONS, Statistic.MEAN)
    assert inner.steps.tolist() == [0, 2, 4]
    assert "block.conv" in inner.names


def test_a_copy_of_a_hooked_model_is_not_watched(tmp_path: Path) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    average = torch.optim.swa_utils.AveragedModel(model)
    with Hook(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, folder=tmp_path) as hook:
        average = copy.deepcopy(model)
        torch.optim.swa_utils.AveragedModel(model)
        with torch.no_grad():
            average(next(batches(1))[0])
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        with torch.no_grad():
            loaded(next(batches(1))[0])
        pickle.dumps(model)
        hook.flush()
        assert len(hook.history().flag("training", Mode.EVAL)) == 0
        assert hook.alive


def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    hook = Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path)
    images, labels = next(batches(1))
    criterion(model(images), labels).backward()
    optimizer.step()
    with torch.no_grad():
        model(images)
    hook.close()
    hook.close()
    for module in (*model.modules(), criterion):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not _get_current_function_mode_stack()
    from torch.optim.optimizer import _global_optimizer_pre_hooks

    assert not _global_optimizer_pre_hooks
    assert hook.run.status == "completed"


def test_a_fault_of_the_hook_ends_the_watching_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    hook = Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path)

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr(hook.collector, "end", broken)
    with caplog.at_level(logging.WARNING):
        for images, labels in batches(3):
            criterion(model(images), labels).backward()
            optimizer.step()
    assert len(caplog.records) == 1
    assert not hook.alive
    assert not model._forward_hooks
    (finding,) = hook.run.findings()
    assert (finding.rule, finding.severity) == ("HookFailed", "info")
    hook.close()


def test_a_fault_of_the_writer_ends_the_watching_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    hook = Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hook._pipeline.writer, "write", full)
    for images, labels in batches(40):
        criterion(model(images), labels).backward()
        optimizer.step()
    hook.flush()
    assert not hook.alive
    criterion(model(images), labels).backward()
    assert not _get_current_function_mode_stack()
    hook.close()


class Outer(TorchFunctionMode):
    """A person's own mode, which must be left as it was entered."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_modes_of_others_are_left_as_they_were(tmp_path: Path) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, optimizer=optimizer, folder=tmp_path) as hook:
        images, labels = next(batches(1))
        with Outer() as outer:
            scores = model(images)
            assert _get_current_function_mode_stack() == [outer]
        assert not _get_current_function_mode_stack()
        F.cross_entropy(scores, labels).backward()
        optimizer.step()
        with torch.device("cpu"):
            scores = model(images)
            with Outer():
                loss = F.cross_entropy(scores, labels)
        loss.backward()
        optimizer.step()
        assert not _get_current_function_mode_stack()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        assert hook.history().scalar("loss").steps.tolist() == [2]


def test_losses_are_seen_beside_a_default_device(tmp_path: Path) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    torch.set_default_device("cpu")
    try:
        with Hook(model, optimizer=optimizer, folder=tmp_path) as hook:
            images, labels = next(batches(1))
            F.cross_entropy(model(images), labels).backward()
            torch.set_default_device("cpu")
            optimizer.step()
            assert hook.history().scalar("loss").steps.tolist() == [0]
    finally:
        torch.set_default_device(None)
    assert not _get_current_function_mode_stack()


def test_a_forward_that_raises_harms_nothing(tmp_path: Path) -> None:
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for images, labels in batches(3):
            with pytest.raises(RuntimeError):
                model(images[:, :2])
            with pytest.raises((RuntimeError, ValueError)):
                criterion(model(images), labels[:2])
            criterion(model(images), labels).backward()
            optimizer.step()
        assert not _get_current_function_mode_stack()
        assert hook.alive
        assert len(hook.history().scalar("loss")) == 3


def test_closures_several_optimizers_and_parameters_added_later(tmp_path: Path) -> None:
    model, criterion = Net(), nn.CrossEntropyLoss()
    images, labels = next(batches(1))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(images), labels)
        loss.backward()
        return loss

    optimizer: torch.optim.Optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path / "closure") as hook:
        for _ in range(2):
            optimizer.step(closure)  # type: ignore[arg-type]
        history = hook.history()
    assert history.scalar("gradient_norm").steps.tolist() == [0, 1]
    assert history.scalar("micro_batches").values[0, 0] >= 3

    one = torch.optim.SGD(model.fc.parameters(), 0.01)
    two = torch.optim.SGD(model.block.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=[one, two], folder=tmp_path / "two") as hook:
        for step in range(3):
            if step == 2:
                one.add_param_group({"params": model.stem.parameters(), "lr": 0.5})
            criterion(model(images), labels).backward()
            one.step()
            two.step()
        history = hook.history()
    ratio = history.series(Group.UPDATES, Statistic.RATIO)
    assert len(ratio) == 3
    assert (ratio.of("block.conv.weight") > 0).all()
    assert ratio.of("stem.weight")[2] > 0
    assert history.structure.parameter("stem.weight").group == 1  # type: ignore[union-attr]


def test_gradient_scaling_is_told_and_taken_out(tmp_path: Path) -> None:
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    norms = []
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step, (images, labels) in enumerate(batches(4)):
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            scaler.scale(loss * (float("inf") if step == 2 else 1)).backward()
            scaler.step(optimizer)
            scaler.update()
            if step != 2:
                norms.append(float(model.fc.weight.grad.norm()))  # type: ignore[union-attr]
        history = hook.history()
    gradients = history.series(Group.GRADIENTS, Statistic.NORM)
    assert gradients.of("fc.weight").tolist() == pytest.approx(norms, rel=1e-5)
    assert history.scalar("loss_scale").values[:, 0].tolist() == [1024, 1024, 512]
    assert history.scalar("micro_batches").values[:, 0].tolist() == [1, 1, 2]


@contextmanager
def process_group(folder: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'group'}", rank=0, world_size=1
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_a_wrapped_model_keeps_its_own_names(tmp_path: Path) -> None:
    with process_group(tmp_path):
        model = nn.parallel.DistributedDataParallel(Net())
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        criterion = nn.CrossEntropyLoss()
        with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path / "run") as hook:
            for images, labels in batches(3):
                optimizer.zero_grad()
                criterion(model(images), labels).backward()
                optimizer.step()
            history = hook.history()
    assert "fc.weight" in history.series(Group.GRADIENTS, Statistic.NORM).names
    assert history.structure.head == "fc"


SCRIPT = """
import torch
from torch import nn
from houndsight.debugger import Hook
model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
hook = Hook(model, loss=nn.CrossEntropyLoss())
labels = torch.tensor([0, 1, 2, 0])
for step in range(5):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(torch.randn(4, 3, 2, 2)), labels).backward()
    optimizer.step()
"""


def test_a_script_that_never_closes_loses_nothing(tmp_path: Path) -> None:
    from houndsight.debugger import read_history

    (tmp_path / "fit.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "error", str(tmp_path / "fit.py")]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("fit-")
    history = read_history(folder)
    assert history.ended
    assert len(history.series(Group.GRADIENTS, Statistic.NORM)) == 5


def test_watching_imports_no_pandas(tmp_path: Path) -> None:
    script = f"""
        import sys
        import torch
        from houndsight.debugger import Hook

        model = torch.nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with Hook(model, optimizer=optimizer, folder={str(tmp_path / "run")!r}):
            for _ in range(70):
                optimizer.zero_grad()
                model(torch.randn(8, 4)).sum().backward()
                optimizer.step()
        print("pandas" in sys.modules)
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "False\n", done.stderr
