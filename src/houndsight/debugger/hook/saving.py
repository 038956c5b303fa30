"""Whole tensors at chosen steps, under the names that SageMaker Debugger gives them.

Nothing is hooked in a step that saves none: the modules, and the parameters for their gradients,
get their hooks when a step that is due begins, and lose them when it is over.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.saved import SavedStep, SavedWriter

__all__ = ["Kept", "Saver", "reduced"]

Array = npt.NDArray[Any]
EXAMPLES_BYTES = 1024**2
"""An input or output of a module keeps as many of its first examples as fit in this, at least
one: the rectifiers of a ResNet-50 take 2 GB a step otherwise."""
LIMIT_BYTES = 4 * 1024**3
"""What inputs and outputs of modules may take on disk before only figures of them are kept."""


@dataclass(frozen=True)
class Kept:
    """Which tensors are kept in a step, and how."""

    collection: str
    patterns: tuple[re.Pattern[str], ...] = ()
    names: frozenset[str] = frozenset()
    whole: bool = True
    reductions: tuple[str, ...] = ()
    """`mean`, `abs_max`, `l2`, `abs_l1` …"""
    shape: bool = False
    seen: set[str] = field(default_factory=set, compare=False)
    """Told what it took."""

    def takes(self, name: str) -> bool:
        """Whether a tensor of this name is kept."""
        if name in self.names or any(p.search(name) for p in self.patterns):
            self.seen.add(name)
            return True
        return False


class Saver:
    """Saves tensors of a model's steps.

    Args:
        model: the root module.
        writer: where the steps go.
        due: what is kept of a step, by its mode and its number in that mode.
        failed: told of an error, after which nothing more is saved.
        modules: whether modules may be hooked; not where they are compiled.
    """

    def __init__(
        self,
        model: nn.Module,
        writer: SavedWriter,
        due: Callable[[str, int], Sequence[Kept]],
        failed: Callable[[BaseException], None],
        *,
        modules: bool = True,
    ) -> None:
        self.model, self.writer = model, writer
        self._due, self._failed, self._modules = due, failed, modules
        self._owner = os.getpid()
        self._kept: Sequence[Kept] = ()
        self._saved: SavedStep | None = None
        self._waiting: dict[str, Tensor] = {}
        """Single figures, which are looked at when the step is over."""
        self._handles: list[Any] = []
        self._counts: dict[str, int] = {}
        self.warn: Callable[[str], None] | None = None

    @property
    def saving(self) -> bool:
        """Whether the step under way is saved."""
        return bool(self._kept)

    def begin(self, step: int, mode: str, mode_step: int) -> None:
        """A call of the root module begins; the step before is over."""
        self.finish_step()
        self._saved = SavedStep(step=step, mode=mode, mode_step=mode_step, time=time.time())
        self._kept = self._due(mode, mode_step)
        self._counts.clear()
        if any(kept.collection != "losses" for kept in self._kept):
            self._take_parameters()
            self._hook_gradients()
            if self._modules:
                self._hook_modules()

    def take(self, name: str, tensor: Tensor, *, always: bool = False, part: bool = False) -> None:
        """Save a tensor if the step keeps its name, or `always`; `part`: of a module's data."""
        kept = [k for k in self._kept if k.takes(name)]
        if self._saved is None or not (kept or always):
            return
        tensor = tensor.detach()
        for kind in dict.fromkeys(kind for k in kept for kind in k.reductions):
            self._saved.reductions.setdefault(name, {})[kind] = reduced(tensor, kind)
        if any(k.shape for k in kept):
            self._saved.shapes[name] = tuple(tensor.shape)
        if always or any(k.whole for k in kept):
            self._take_whole(name, tensor, part=part)

    def write_value(self, name: str, value: float, time_s: float) -> None:
        """Save a figure of the person's own with the step under way."""
        if self._saved is not None:
            self._saved.tensors[name] = np.array(value, np.float64)
            self._saved.time = time_s

    def take_output(self, name: str, output: Any, suffix: str = "_output_") -> None:
        """Save the tensors in what a module gave or got, numbered over the calls of a step."""
        for tensor in _tensors(output):
            number = self._counts.get(name + suffix, 0)
            self._counts[name + suffix] = number + 1
            self.take(f"{name}{suffix}{number}", tensor, part=tensor.numel() > 1)

    def finish_step(self) -> None:
        """Write what was saved of the step before."""
        self._unhook()
        saved, self._saved, self._kept = self._saved, None, ()
        waiting, self._waiting = self._waiting, {}
        if saved is None or self._owner != os.getpid():
            return
        for name, tensor in waiting.items():
            saved.tensors[name] = _array(tensor)
        if len(saved):
            self.writer.write(saved)

    def close(self) -> None:
        """The training is over."""
        self.finish_step()
        if self._owner == os.getpid():
            self.writer.end()

    # -- tensors ----------------------------------------------------------------------------

    def _take_whole(self, name: str, tensor: Tensor, *, part: bool) -> None:
        assert self._saved is not None
        if tensor.numel() == 0:
            return
        if tensor.numel() == 1:
            self._waiting[name] = tensor.clone()
            return
        if part and tensor.ndim > 1 and not name.startswith("gradient/"):
            if self.writer.bytes_written > LIMIT_BYTES:
                self._say_full()
                return
            each = tensor[0].numel() * tensor.element_size()
            fitting = max(EXAMPLES_BYTES // max(each, 1), 1)
            if fitting < len(tensor):
                self._saved.examples[name] = len(tensor)
                tensor = tensor[:fitting]
        self._saved.tensors[name] = _array(tensor)

    def _say_full(self) -> None:
        if self.warn is not None:
            self.warn(
                f"Inputs and outputs of modules take more than {LIMIT_BYTES // 1024**3} GB; "
                "from here on no more of them are saved."
            )
            self.warn = None

    def _take_parameters(self) -> None:
        root = type(self.model).__name__
        for name, parameter in self.model.named_parameters():
            self.take(f"{root}_{name}", parameter)

    def _hook_gradients(self) -> None:
        root = type(self.model).__name__
        for name, parameter in self.model.named_parameters():
            full = f"gradient/{root}_{name}"
            if parameter.requires_grad and self._wanted(full):
                callback = Callback(self._gradient_taker(full), self._failed)
                hooked: Any = parameter
                self._handles.append(hooked.register_hook(callback))

    def _gradient_taker(self, name: str) -> Callable[[Tensor], None]:
        def take(gradient: Tensor) -> None:
            self.take(name, gradient)

        return take

    def _hook_modules(self) -> None:
        root = type(self.model).__name__
        for path, module in self.model.named_modules():
            name = path or root
            before, after = self._wanted(f"{name}_input_0"), self._wanted(f"{name}_output_0")
            if isinstance(module, torch.jit.ScriptModule):
                continue
            # The root is called already: what it got is told by whoever began the step.
            if before and path:
                taker = Callback(self._input_taker(name, module), self._failed)
                self._handles.append(module.register_forward_pre_hook(taker))
            if after:
                taker = Callback(self._output_taker(name, module), self._failed)
                self._handles.append(module.register_forward_hook(taker))

    def _input_taker(self, name: str, watched: nn.Module) -> Callable[..., None]:
        def take(module: nn.Module, args: Any) -> None:
            if module is watched:
                self.take_output(name, args, "_input_")

        return take

    def _output_taker(self, name: str, watched: nn.Module) -> Callable[..., None]:
        def take(module: nn.Module, _args: Any, output: Any) -> None:
            if module is watched:
                self.take_output(name, output)

        return take

    def _wanted(self, name: str) -> bool:
        return any(
            name in kept.names or any(p.search(name) for p in kept.patterns) for kept in self._kept
        )

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def reduced(tensor: Tensor, kind: str) -> float:
    """One of SageMaker Debugger's reductions: `mean`, `abs_max`, `l2`, `abs_l1` …

    Raises:
        KeyError: there is no such reduction.
    """
    values = tensor.float() if not tensor.is_floating_point() else tensor
    if values.numel() == 0:
        return float("nan")
    plain = kind.removeprefix("abs_")
    if plain != kind:
        values = values.abs()
    return float(_REDUCTIONS[plain](values.double() if values.device.type == "cpu" else values))


_REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "min": Tensor.min,
    "max": Tensor.max,
    "mean": Tensor.mean,
    "std": lambda t: t.std(correction=0),
    "variance": lambda t: t.var(correction=0),
    "sum": Tensor.sum,
    "prod": Tensor.prod,
    "l1": lambda t: torch.linalg.vector_norm(t, 1),
    "l2": lambda t: torch.linalg.vector_norm(t, 2),
}


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))


def _array(tensor: Tensor) -> Array:
    """A copy in main memory; NumPy has no bfloat16."""
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return np.array(tensor.resolve_conj().resolve_neg().cpu().numpy())
