"""Seeing losses: criterion modules, and PyTorch's loss functions wherever they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

__all__ = ["LOSSES", "LossCall", "LossMode", "loss_call", "modes", "top_is"]

LOSSES: Mapping[Any, str] = {
    getattr(F, name): name
    for name in (
        "cross_entropy",
        "nll_loss",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "kl_div",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "soft_margin_loss",
        "hinge_embedding_loss",
        "poisson_nll_loss",
    )
}
SETTINGS = ("label_smoothing", "weight", "reduction", "ignore_index", "pos_weight")
BIGGEST = 1_000_000
"""Outputs with more elements than this, such as those of segmentation, are not kept."""


@dataclass(eq=False)
class LossCall:
    """One call of a loss: what it got and what it gave."""

    kind: str
    value: Tensor
    """What it returned, detached."""
    logits: Tensor | None = None
    """What it took for logits, detached, its memory shared."""
    targets: Tensor | None = None
    """A copy."""
    version: int = 0
    """Counts changes of the logits in place; another number later means they are lost."""
    settings: Mapping[str, Any] | None = None

    def kept_logits(self) -> Tensor | None:
        """The logits as the loss saw them; None when they were overwritten."""
        if self.logits is None or _version(self.logits) != self.version:
            return None
        return self.logits


def loss_call(
    kind: str, args: tuple[Any, ...], settings: Mapping[str, Any], value: Any
) -> LossCall | None:
    """The record of a loss that got `args` (logits, targets); None when it gave no tensor."""
    if not isinstance(value, Tensor):
        return None
    call = LossCall(kind, value.detach(), settings=settings)
    if len(args) > 1 and isinstance(args[0], Tensor) and isinstance(args[1], Tensor):
        logits, targets = args[0].detach(), args[1].detach()
        if logits.numel() <= BIGGEST and targets.numel() <= BIGGEST:
            call.logits, call.targets, call.version = logits, targets.clone(), _version(logits)
    return call


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


_stack: Any = _get_current_function_mode_stack


class LossMode(TorchFunctionMode):
    """While it is entered, hands every call of a loss function to `saw`."""

    def __init__(self, saw: Callable[[LossCall], None], failed: Callable[[BaseException], None]):
        super().__init__()
        self._saw, self._failed = saw, failed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs) if kwargs else func(*args)
        kind = LOSSES.get(func)
        if kind is not None:
            try:
                self._record(kind, func, args, kwargs or {}, result)
            except Exception as error:
                self._failed(error)
        return result

    def _record(
        self, kind: str, func: Any, args: Any, kwargs: Mapping[str, Any], result: Any
    ) -> None:
        bound = _SIGNATURES[func].bind(*args, **kwargs).arguments
        first = (bound.get("input"), bound.get("target"))
        settings = {name: bound[name] for name in SETTINGS if bound.get(name) is not None}
        call = loss_call(kind, first, settings, result)
        if call is not None:
            self._saw(call)


_SIGNATURES = {function: inspect.signature(function) for function in LOSSES}


def top_is(mode: TorchFunctionMode) -> bool:
    """Whether `mode` is the innermost one, so that leaving it leaves no other."""
    stack = modes()
    return bool(stack) and stack[-1] is mode


def modes() -> list[TorchFunctionMode]:
    """Those that are on, the innermost last."""
    stack: list[TorchFunctionMode] = _stack()
    return stack
