"""Where losses are looked for: inside criterion modules, and between a forward and its step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.losses import (
    CRITERIA,
    LossCall,
    LossMode,
    loss_call,
    modes,
    settings_of,
    top_is,
)

__all__ = ["LossScope"]


class LossScope:
    """Sees losses by the cheapest means that sees them.

    One of PyTorch's criteria tells by its own hooks what it gets and gives. Inside another
    criterion module a mode sees which of PyTorch's functions it calls. Without a criterion, and
    for evaluations that use none, the mode is on from the end of a forward until the
    optimizer's step or the next forward; but only where no other mode is on, so that whoever
    leaves one meanwhile leaves their own.
    """

    def __init__(
        self,
        criterion: Any,
        saw: Callable[[LossCall], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._saw = saw
        self._mode: Any = LossMode(self._see, self._differentiates, failed)
        self._on = False
        self._inside = False
        self._seen = 0
        self.handles: list[Any] = []
        self.module = criterion if isinstance(criterion, nn.Module) else None
        self._compiled = False
        self._kind = ""
        self._settings: Mapping[str, Any] = {}
        if self.module is not None:
            inner: Any = getattr(self.module, "_orig_mod", self.module)
            self._kind = CRITERIA.get(type(inner), "")
            self._settings = settings_of(inner) if self._kind else {}
            self._compiled = inner is not self.module
            self._watch(self.module, failed)

    def _watch(self, module: nn.Module, failed: Callable[[BaseException], None]) -> None:
        after = Callback(self._after, failed)
        self.handles = [
            module.register_forward_pre_hook(Callback(self._before, failed)),
            module.register_forward_hook(after, with_kwargs=True, always_call=True),
        ]

    # -- a criterion module -----------------------------------------------------------------

    def _before(self, module: nn.Module, _args: tuple[Any, ...]) -> None:
        if module is not self.module:
            return
        self._seen = 0
        # Where the mode is on already, it sees what the criterion calls.
        if not (self._on or self._kind or self._compiled):
            self._mode.__enter__()
            self._inside = True

    def _after(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if module is not self.module:
            return
        if self._inside:
            self._inside = False
            self._mode.__exit__(None, None, None)
        if self._seen:
            return
        given = [*args, *kwargs.values()]
        if self._kind and "target" in kwargs:
            given = [args[0] if args else kwargs.get("input"), kwargs["target"]]
        logits, targets = (*given, None, None)[:2]
        kind = self._kind or type(module).__name__
        call = loss_call(kind, logits, targets, self._settings, output)
        if call is not None:
            self._saw(call)

    # -- anywhere else ----------------------------------------------------------------------

    def enter(self, *, evaluation: bool) -> None:
        """A forward has returned."""
        if self._on or (self.module is not None and not evaluation):
            return
        if all(mode is _default_device() for mode in modes()):
            self._seen = 0
            self._mode.__enter__()
            self._on = True

    def leave(self) -> None:
        """The next forward, or the step, begins."""
        if self._on and top_is(self._mode):
            self._mode.__exit__(None, None, None)
            self._on = False

    def _see(self, call: LossCall) -> None:
        self._seen += 1
        self._saw(call)

    def _differentiates(self, value: Tensor) -> None:
        """A loss that none of PyTorch's functions made is seen when it is differentiated."""
        if self._on and not self._seen and value.numel() == 1:
            self._see(LossCall("custom", value.detach()))


def _default_device() -> Any:
    """The mode that `torch.set_default_device` keeps below all others, and takes away there."""
    return getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
