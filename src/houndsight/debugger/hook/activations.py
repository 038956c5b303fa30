"""Outputs of modules, sampled in their own forward hook, before anything can overwrite them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.sampling import Positions

__all__ = ["RECTIFIERS", "SQUASHERS", "ActivationWatch", "first_tensor", "leaves", "touchy"]

MOVING = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.modules.dropout._DropoutNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)
"""Modules that only pass on or choose what came in; their outputs say nothing new."""
RECTIFIERS = ("ReLU", "ReLU6", "relu()", "relu6()")
SQUASHERS = ("Sigmoid", "Tanh", "sigmoid()", "tanh()")


def leaves(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules without children, each once."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if not any(module.children()) and not isinstance(module, torch.jit.ScriptModule)
    ]


def touchy(model: nn.Module) -> dict[str, nn.Module]:
    """Names of modules that must not have hooks while the module named beside is in evaluation.

    PyTorch's transformer layers then compute by a quicker way that rounds otherwise, unless a
    module in them has a hook.
    """
    return {
        f"{name}.{inner}".strip("."): layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.TransformerEncoderLayer)
        for inner, _ in layer.named_modules()
    }


class ActivationWatch:
    """Takes samples of the modules' outputs while `samples` is a list."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self.samples: list[tuple[int, Positions, Any]] | None = None
        self.names: list[str] = []
        """By slot."""
        self.kinds: list[str] = []
        self._plans: list[Positions | None] = []
        self.functions: list[str] = []
        """Names of the activation functions seen so far."""
        self._failed = failed
        self._handles: list[Any] = []
        self._touchy: list[tuple[nn.Module, nn.Module, Callable[..., None]]] = []
        self._touched: list[Any] = []
        self._slots: dict[str, int] = {}

    def attach(self, model: nn.Module) -> None:
        """Hook the modules of `model`."""
        layers = touchy(model)
        for name, module in leaves(model):
            if isinstance(module, MOVING):
                continue
            hook = self._hook(self._slot(name, type(module).__name__), module)
            if name in layers:
                self._touchy.append((layers[name], module, hook))
            else:
                self._handles.append(module.register_forward_hook(Callback(hook, self._failed)))

    def _slot(self, name: str, kind: str) -> int:
        if name in self._slots:
            return self._slots[name]
        self._slots[name] = len(self.names)
        self.names.append(name)
        self.kinds.append(kind)
        self._plans.append(None)
        return self._slots[name]

    def _hook(self, slot: int, watched: nn.Module) -> Callable[..., None]:
        def sample(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            if self.samples is not None and module is watched:
                self._take(slot, output)

        return sample

    def _take(self, slot: int, output: Any) -> None:
        samples = self.samples
        assert samples is not None
        if type(output) is not Tensor:
            output = first_tensor(output)
            if type(output) is not Tensor:
                return
        plan = self._plans[slot]
        if plan is None or not plan.fit(output):
            if not output.is_floating_point() or output.numel() == 0:
                return
            plan = self._plans[slot] = Positions(output)
        samples.append((slot, plan, plan.take(output)))

    def saw_function(self, name: str, kind: str, output: Tensor) -> None:
        """Take a sample of what an activation function gave."""
        if self.samples is not None:
            if name not in self._slots:
                self.functions.append(name)
            self._take(self._slot(name, kind), output)

    def prepare(self) -> None:
        """A forward begins: hook modules of transformers that are in training mode."""
        if not self._touchy:
            return
        training = self._touchy[0][0].training
        if training and not self._touched:
            self._touched = [
                module.register_forward_hook(Callback(hook, self._failed))
                for _, module, hook in self._touchy
            ]
        elif not training and self._touched:
            self._touched = _removed(self._touched)

    def detach(self) -> None:
        """Take the hooks off."""
        self._handles = _removed(self._handles)
        self._touched = _removed(self._touched)
        self._touchy = []


def _removed(handles: list[Any]) -> list[Any]:
    for handle in handles:
        handle.remove()
    return []


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of floating point in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            found = first_tensor(item)
            if found is not None:
                return found
    return None
