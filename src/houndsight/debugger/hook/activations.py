"""Outputs of modules, sampled in their own forward hook, before anything can overwrite them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.sampling import Positions

__all__ = ["RECTIFIERS", "SQUASHERS", "ActivationWatch", "watched_modules"]

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
Seen = Callable[[int, nn.Module, tuple[Any, ...], Any], None]


def watched_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules without children, each once, the root itself apart unless it is alone."""
    leaves = [(n, m) for n, m in model.named_modules() if not any(m.children())]
    return [(n, m) for n, m in leaves if n or len(leaves) == 1]


class ActivationWatch:
    """Takes samples of the modules' outputs while `samples` is a list."""

    def __init__(self, model: nn.Module, failed: Callable[[BaseException], None]) -> None:
        self.samples: list[tuple[int, Positions, Any]] | None = None
        self.seen: Seen | None = None
        """Called for every module during the first forward."""
        modules = [(n, m) for n, m in watched_modules(model) if not isinstance(m, MOVING)]
        self.names = [name for name, _ in modules]
        self.kinds = [type(module).__name__ for _, module in modules]
        self._plans: list[Positions | None] = [None] * len(modules)
        self._modules = modules
        self._handles = [
            module.register_forward_hook(Callback(self._hook(slot, module), failed))
            for slot, (_, module) in enumerate(modules)
        ]

    def _hook(self, slot: int, watched: nn.Module) -> Callable[..., None]:
        plans = self._plans

        def sample(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            samples = self.samples
            if samples is None or module is not watched:
                return
            if type(output) is not Tensor:
                output = first_tensor(output)
                if output is None:
                    return
            plan = plans[slot]
            if plan is None or not plan.fit(output):
                if not output.is_floating_point() or output.numel() == 0:
                    return
                plan = plans[slot] = Positions(output)
            samples.append((slot, plan, plan.take(output)))

        return sample

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()


def first_tensor(value: Any, *, floating: bool = True) -> Tensor | None:
    """The first tensor, of floating point if so asked, in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() or not floating else None
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            found = first_tensor(item, floating=floating)
            if found is not None:
                return found
    return None


def no_gradients() -> Any:
    """Inside, nothing that the hook computes is recorded by autograd."""
    return torch.no_grad()
