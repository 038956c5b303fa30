"""In a watched process: find the model that is trained, and hook it.

When an optimizer is made, PyTorch's global forward hook is switched on until the first call of a
module that holds what the optimizer trains. The first such module to be called is the outermost
one, wrappers and compiled modules included; it gets a `Hook`, and the global hook goes off again.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.debugger.watch.orders import Orders, note

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from houndsight.debugger.hook import Hook

__all__ = ["Watcher", "begin"]

MODULES_ASKED = 20_000
"""Calls of modules after which no more is waited for the one that an optimizer trains."""
STEPS_ALONE = 3
"""Steps of an optimizer after which it is taken to train no module."""
UNDER_WAY = 2
"""Steps after which a model is left when another one is trained."""


def begin() -> None:
    """PyTorch has been imported: watch, if this process is meant to be."""
    orders = Orders.from_environment()
    if orders is None:
        return
    try:
        Watcher(orders).begin()
    except Exception as error:
        note(orders.folder, "fault", text=f"{type(error).__name__}: {error}")


class Watcher:
    """Hooks the models that this process trains, one after the other."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.hooks: list[Hook] = []
        self._waiting: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        """Optimizers of which no model has been seen."""
        self._stepped: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        """How often those among them have stepped without one."""
        self._known: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._handle: Any = None
        self._asked = 0
        self._models = 0
        self._off = False
        self._stepping: Any = None
        self._made: Any = None

    def begin(self) -> None:
        """Be told of every optimizer that is made and of every step."""
        from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

        made = Optimizer.__init__

        @functools.wraps(made)
        def init(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            made(optimizer, *args, **kwargs)
            self._guarded(self._meet, optimizer)

        Optimizer.__init__ = init  # type: ignore[method-assign, assignment]
        self._stepping = register_optimizer_step_pre_hook(self._before_step)
        self._made = made
        os.register_at_fork(after_in_child=self._forked)
        note(self.orders.folder, "torch", executable=sys.executable)

    def leave(self) -> None:
        """Watch no further model, and leave PyTorch as it was."""
        from torch.optim.optimizer import Optimizer

        self._off = True
        self._switch_off()
        self._stepping.remove()
        Optimizer.__init__ = self._made  # type: ignore[method-assign]

    def end(self) -> None:
        """Leave, and close what is hooked."""
        self.leave()
        while self.hooks:
            self.hooks.pop().close()

    # -- what PyTorch tells -----------------------------------------------------------------

    def _meet(self, optimizer: Optimizer) -> None:
        if optimizer in self._known:
            return
        self._known.add(optimizer)
        self._waiting.add(optimizer)
        self._switch_on()

    def _before_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        if optimizer in self._waiting or optimizer not in self._known:
            self._guarded(self._stepped_alone, optimizer)

    def _stepped_alone(self, optimizer: Optimizer) -> None:
        self._meet(optimizer)
        self._stepped[optimizer] = self._stepped.get(optimizer, 0) + 1
        if self._stepped[optimizer] > STEPS_ALONE:
            self._waiting.discard(optimizer)
        elif self._waiting:
            self._switch_on()

    def _before_forward(self, module: nn.Module, args: Any) -> None:
        self._guarded(self._consider, module, args)

    def _guarded(self, function: Callable[..., None], *args: Any) -> None:
        """A fault of ours ends the watching and nothing else."""
        if self._off:
            return
        try:
            function(*args)
        except Exception as error:
            self._off = True
            self._switch_off()
            note(self.orders.folder, "fault", text=f"{type(error).__name__}: {error}")

    def _forked(self) -> None:
        # A worker trains nothing, and what its parent watches is its parent's.
        self._off = True
        self._switch_off()
        self.hooks = []

    def _switch_on(self) -> None:
        from torch.nn.modules.module import register_module_forward_pre_hook

        if self._handle is None and not self._off and self._asked < MODULES_ASKED:
            # Compiled modules say so when there is a global hook; it is gone before they compile.
            warnings.filterwarnings(
                "ignore", message="Using `torch.compile.module.` when there are global hooks"
            )
            self._handle = register_module_forward_pre_hook(self._before_forward)

    def _switch_off(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.remove()

    # -- the model --------------------------------------------------------------------------

    def _consider(self, module: nn.Module, args: Any) -> None:
        import torch

        # Without gradients a part may be called by itself, to compute features for once.
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return
        self._asked += 1
        mine = {id(p) for p in module.parameters()}
        theirs = [o for o in list(self._waiting) if self._trains(o, mine)]
        if theirs and not self._is_watched(module, mine):
            self._attach(module, args)
        for optimizer in theirs:
            self._waiting.discard(optimizer)
        if not self._waiting or self._asked >= MODULES_ASKED:
            self._switch_off()

    def _trains(self, optimizer: Optimizer, mine: set[int]) -> bool:
        """Whether it holds parameters of the module, and as long as it may be a part, no others."""
        held = {id(p) for p in _parameters(optimizer) if p.requires_grad}
        if not held or optimizer in self._stepped:
            return bool(held & mine)
        return held <= mine

    def _is_watched(self, module: nn.Module, mine: set[int]) -> bool:
        if any(not hook._closed and mine & _ids(hook.inner) for hook in self.hooks):
            return True
        if _has_hook(module):
            note(self.orders.folder, "hooked", model=type(module).__name__)
            return True
        return False

    def _attach(self, module: nn.Module, args: Any) -> None:
        self._leave_those_before()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from houndsight.debugger.watch.slots import claim

            self._models += 1
            folder = claim(Path(self.orders.folder), self._models)
            if folder is None:
                return
            hook = self._hook(module, folder)
        self.hooks.append(hook)
        note(
            self.orders.folder,
            "attached",
            model=type(hook.inner).__name__,
            folder=str(folder),
            rank=hook.rank,
        )
        hook.take_in(args)

    def _hook(self, module: nn.Module, folder: Path) -> Hook:
        from houndsight.debugger.actions import Stop
        from houndsight.debugger.hook import Hook

        if self.orders.probe:
            from houndsight.debugger.doctor.probe import Probe

            return Probe(module, folder=folder, orders=self.orders.probe, leave=self.leave)
        return Hook(
            module,
            folder=folder,
            rules=self.orders.rules,
            save_interval=self.orders.save_interval,
            actions=[Stop()] if self.orders.stop else [],
            live=True,
        )

    def _leave_those_before(self) -> None:
        """Models trained one after the other must not all be kept in memory."""
        for hook in [h for h in self.hooks if h.collector.step >= UNDER_WAY]:
            self.hooks.remove(hook)
            hook.close()


def _parameters(optimizer: Optimizer) -> Iterable[Any]:
    return (p for group in optimizer.param_groups for p in group["params"])


def _ids(module: nn.Module) -> set[int]:
    return {id(p) for p in module.parameters()}


def _has_hook(module: nn.Module) -> bool:
    """Whether the script has a `Hook` of its own on it."""
    from houndsight.debugger.hook.callback import Callback

    found = [hook for m in module.modules() for hook in m._forward_pre_hooks.values()]
    return any(isinstance(hook, Callback) for hook in found)
