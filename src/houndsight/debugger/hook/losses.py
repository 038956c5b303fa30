"""Seeing losses: criterion modules, and PyTorch's loss functions wherever they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

__all__ = ["CRITERIA", "LossCall", "LossMode", "loss_call", "modes", "settings_of", "top_is"]

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
CRITERIA: Mapping[type[nn.Module], str] = {
    nn.CrossEntropyLoss: "cross_entropy",
    nn.NLLLoss: "nll_loss",
    nn.MSELoss: "mse_loss",
    nn.L1Loss: "l1_loss",
    nn.SmoothL1Loss: "smooth_l1_loss",
    nn.HuberLoss: "huber_loss",
    nn.BCELoss: "binary_cross_entropy",
    nn.BCEWithLogitsLoss: "binary_cross_entropy_with_logits",
    nn.KLDivLoss: "kl_div",
    nn.MultiMarginLoss: "multi_margin_loss",
}
"""Criteria that only call their function: what they got is what it gets."""
SETTINGS = ("label_smoothing", "weight", "reduction", "ignore_index", "pos_weight")
BIGGEST = 1_000_000
"""Outputs with more elements than this, such as those of segmentation, are not kept."""


@dataclass(slots=True, eq=False)
class LossCall:
    """One call of a loss: what it got and what it gave."""

    kind: str
    """The function, or the class of a criterion that calls none; `custom` where neither is."""
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
    kind: str, logits: Any, targets: Any, settings: Mapping[str, Any], value: Any
) -> LossCall | None:
    """The record of a loss; None when it gave no tensor."""
    if not isinstance(value, Tensor):
        return None
    call = LossCall(kind, value.detach(), settings=settings)
    if not (isinstance(logits, Tensor) and isinstance(targets, Tensor)):
        return call
    if logits.numel() <= BIGGEST and targets.numel() <= BIGGEST:
        call.logits, call.targets = logits.detach(), targets.detach().clone()
        call.version = _version(call.logits)
    return call


def settings_of(criterion: nn.Module) -> dict[str, Any]:
    """The settings of one of `CRITERIA`."""
    found = {name: getattr(criterion, name, None) for name in SETTINGS}
    return {name: value for name, value in found.items() if value is not None}


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


_stack: Any = _get_current_function_mode_stack
_backward: Any = Tensor.backward


class LossMode(TorchFunctionMode):
    """While it is on, hands every call of a loss function to `saw`, and what is differentiated."""

    def __init__(
        self,
        saw: Callable[[LossCall], None],
        differentiates: Callable[[Tensor], None],
        failed: Callable[[BaseException], None],
    ):
        super().__init__()
        self._saw, self._differentiates, self._failed = saw, differentiates, failed

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func is _backward:
            self._tell(self._differentiates, args[0])
        result = func(*args, **kwargs) if kwargs else func(*args)
        if func in LOSSES:
            self._tell(self._record, func, args, kwargs or {}, result)
        return result

    def _tell(self, told: Callable[..., None], *what: Any) -> None:
        try:
            told(*what)
        except Exception as error:
            self._failed(error)

    def _record(self, func: Any, args: Any, kwargs: Mapping[str, Any], result: Any) -> None:
        given: Mapping[str, Any] = kwargs
        if len(args) > 2:
            given = _SIGNATURES[func].bind(*args, **kwargs).arguments
        logits = args[0] if args else given.get("input")
        targets = args[1] if len(args) > 1 else given.get("target")
        settings = {name: given[name] for name in SETTINGS if given.get(name) is not None}
        call = loss_call(LOSSES[func], logits, targets, settings, result)
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
