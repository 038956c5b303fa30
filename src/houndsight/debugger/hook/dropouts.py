"""Functional dropout: `F.dropout(x)` drops in evaluations too, whatever `eval()` says."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from houndsight.debugger.hook.functional import PASSED_ON

__all__ = ["DropoutWatch"]

FUNCTIONS: Mapping[Any, inspect.Signature] = {
    function: inspect.signature(function)
    for function in (
        F.dropout,
        F.dropout1d,
        F.dropout2d,
        F.dropout3d,
        F.alpha_dropout,
        F.feature_alpha_dropout,
    )
}
LOOKS = 2
"""Forwards of each kind that are looked at."""


class _Mode(TorchFunctionMode):
    """While it is on, tells `saw(p)` of every functional dropout that really drops."""

    def __init__(self, saw: Callable[[float], None], failed: Callable[[BaseException], None]):
        super().__init__()
        self._saw, self._failed = saw, failed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func in FUNCTIONS:
            try:
                self._tell(FUNCTIONS[func], args, kwargs or {})
            except Exception as error:
                self._failed(error)
        return func(*args, **kwargs) if kwargs else func(*args)

    def _tell(self, signature: inspect.Signature, args: Any, kwargs: Any) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        drops = bound.arguments["training"] and bound.arguments["p"] > 0
        if drops and not _by_a_module():
            self._saw(float(bound.arguments["p"]))


def _by_a_module() -> bool:
    """Whether one of PyTorch's modules calls, such as `nn.Dropout`, whose mode is known."""
    frame: Any = sys._getframe(3)
    while frame is not None and frame.f_globals.get("__name__") in PASSED_ON:
        frame = frame.f_back
    caller = "" if frame is None else frame.f_globals.get("__name__", "")
    return str(caller).startswith("torch.nn.modules")


class DropoutWatch:
    """Looks at the first forwards of each kind.

    Attributes:
        training: largest rate of a functional dropout in a training forward; 0 without one.
        evaluation: the same in a forward without gradients of a model in evaluation mode.
    """

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self.training = self.evaluation = 0.0
        self._mode: Any = _Mode(self._see, failed)
        self._looked = {True: 0, False: 0}
        self._on: bool | None = None
        self._news = False

    def enter(self, *, training: bool, gradients: bool) -> None:
        """A forward begins."""
        if training == gradients and self._looked[training] < LOOKS and self._on is None:
            self._looked[training] += 1
            self._mode.__enter__()
            self._on = training

    def leave(self) -> bool:
        """It has ended; whether something new was seen."""
        if self._on is None:
            return False
        self._mode.__exit__(None, None, None)
        self._on = None
        news, self._news = self._news, False
        return news

    def _see(self, rate: float) -> None:
        if self._on:
            self._news |= rate > self.training
            self.training = max(self.training, rate)
        else:
            self._news |= rate > self.evaluation
            self.evaluation = max(self.evaluation, rate)
