"""Where losses are looked for: inside criterion modules, and between a forward and its step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from houndsight.debugger.hook.callback import Callback
from houndsight.debugger.hook.losses import LossCall, LossMode, loss_call, modes, top_is

__all__ = ["LossScope"]


class LossScope:
    """Enters and leaves the mode that sees loss functions.

    With a criterion module the mode is on only while that is called; otherwise, and for
    evaluations, from the end of a forward until the optimizer's step or the next forward. It is
    entered only where no other mode is on, so that whoever leaves one later leaves their own.
    """

    def __init__(
        self,
        criterion: Any,
        saw: Callable[[LossCall], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._saw = saw
        self._mode: Any = LossMode(self._see, failed)
        self._on = False
        self._inside = False
        self._seen = 0
        self._module = criterion if isinstance(criterion, nn.Module) else None
        self.handles: list[Any] = []
        if self._module is not None:
            self.handles = [
                self._module.register_forward_pre_hook(Callback(self._before, failed)),
                self._module.register_forward_hook(Callback(self._after, failed), always_call=True),
            ]

    def _see(self, call: LossCall) -> None:
        self._seen += 1
        self._saw(call)

    def enter(self, *, evaluation: bool) -> None:
        """A forward has returned."""
        if self._on or (self._module is not None and not evaluation):
            return
        if _modes_of_others() == 0:
            self._mode.__enter__()
            self._on = True

    def leave(self) -> None:
        """The next forward, or the step, begins."""
        if self._on and top_is(self._mode):
            self._mode.__exit__(None, None, None)
            self._on = False

    def _before(self, module: nn.Module, _args: tuple[Any, ...]) -> None:
        if module is not self._module:
            return
        self._seen = 0
        if not self._on:
            self._mode.__enter__()
            self._inside = True

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if module is not self._module:
            return
        if self._inside:
            self._inside = False
            self._mode.__exit__(None, None, None)
        if not self._seen:
            call = loss_call(type(module).__name__, args, {}, output)
            if call is not None:
                self._saw(call)


def _modes_of_others() -> int:
    """How many modes are on that whoever entered them will leave by taking off the last one."""
    return sum(type(mode).__name__ != "DeviceContext" for mode in modes())
