"""The optimizers' steps, wherever they are taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.collector import Collector

__all__ = ["OptimizerWatch"]


class OptimizerWatch:
    """Hooks on those optimizers, or on all that hold a parameter of the model.

    Args:
        model: the module whose parameters count.
        optimizers: those that a person named; none: every one of the process.
        begins: called before a step that counts; whether it is to be watched.
        begun: called when such a step is known to the collector, before it is taken.
        changed: called when an optimizer was met, or got more parameters.
        failed: told of an error.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        collector: Collector,
        *,
        begins: Callable[[], bool],
        begun: Callable[[], None],
        changed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._model, self._collector = model, collector
        self._begins, self._begun, self._changed = begins, begun, changed
        self._groups: Any = None
        before, after = Callback(self._before, failed), Callback(self._after, failed)
        self.handles: list[Any] = []
        for one in optimizers:
            collector.meet(one)
            pair = one.register_step_pre_hook(before), one.register_step_post_hook(after)
            self.handles += pair
        if not optimizers:
            self.handles.append(register_optimizer_step_pre_hook(before))
            self.handles.append(register_optimizer_step_post_hook(after))

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not self._holds(optimizer) or not self._begins():
            return
        closure = kwargs.get("closure") or (args[1] if len(args) > 1 else None)
        self._collector.before_step(optimizer, closure=closure is not None)
        groups = self._collector.groups
        if groups != self._groups:
            self._groups = groups
            self._changed()
        self._begun()

    def _after(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        if self._holds(optimizer):
            self._collector.after_step()

    def _holds(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether it steps a parameter of the model."""
        if optimizer in self._collector.optimizers:
            return True
        mine = {id(p) for p in self._model.parameters()}
        return any(id(p) in mine for group in optimizer.param_groups for p in group["params"])
