"""Activation functions that a model calls without a module: `F.relu`, `torch.sigmoid` …"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["PASSED_ON", "FunctionalMode", "may_watch"]

NAMES = (
    "relu",
    "relu_",
    "relu6",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "sigmoid",
    "sigmoid_",
    "tanh",
    "tanh_",
    "softmax",
    "log_softmax",
)
FUNCTIONS = {
    function: f"{name.rstrip('_')}()"
    for place in (F, torch, Tensor)
    for name in NAMES
    for function in [getattr(place, name, None)]
    if function is not None
}
PASSED_ON = ("torch.nn.functional", "torch.overrides", "torch._jit_internal", __name__)
"""Python modules between the model and the function it calls."""


def may_watch(model: nn.Module) -> bool:
    """Whether a mode may be on in its forward: some modules compute otherwise when one is."""
    return not any(
        isinstance(m, nn.MultiheadAttention | nn.TransformerEncoder | nn.TransformerEncoderLayer)
        for m in model.modules()
    )


class FunctionalMode(TorchFunctionMode):
    """While it is on, hands the results of activation functions to `saw(name, kind, output)`.

    A name is the calling module's and the function's, `layer1.relu()`, with `/1` … for further
    calls in the same module.
    """

    def __init__(
        self,
        model: nn.Module,
        saw: Callable[[str, str, Tensor], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        super().__init__()
        self._names = {id(module): name for name, module in model.named_modules()}
        self._saw, self._failed = saw, failed
        self._calls: dict[str, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **kwargs) if kwargs else func(*args)
        kind = FUNCTIONS.get(func)
        if kind is not None and type(result) is Tensor:
            try:
                self._tell(kind, result)
            except Exception as error:
                self._failed(error)
        return result

    def start(self) -> None:
        """A forward begins: calls are counted from the first again."""
        self._calls.clear()

    def _tell(self, kind: str, result: Tensor) -> None:
        frame: Any = sys._getframe(2)
        while frame is not None and frame.f_globals.get("__name__") in PASSED_ON:
            frame = frame.f_back
        if frame is None or frame.f_globals.get("__name__", "").startswith("torch.nn.modules"):
            return
        owner = self._names.get(id(frame.f_locals.get("self")), "")
        name = f"{owner}.{kind}" if owner else kind
        number = self._calls.get(name, 0)
        self._calls[name] = number + 1
        self._saw(f"{name}/{number}" if number else name, kind, result)
