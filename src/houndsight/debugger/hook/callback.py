"""Hooks that a copied or saved model leaves behind, and that never raise into a training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from houndsight.debugger.actions import TrainingStoppedError

__all__ = ["Callback"]


def _nothing() -> Callable[..., None]:
    """Something from the standard library that takes anything and does nothing."""
    return contextlib.nullcontext().__exit__


class Callback:
    """Calls `function` unless PyTorch is compiling; an error goes to `failed` and no further.

    Only `TrainingStoppedError` passes: a person asked for it.

    A deep copy of a hooked model (an average of the weights, say) must not be watched, and a
    pickled one must load where Houndsight is not installed: copies of it do nothing.
    """

    __slots__ = ("failed", "function")

    def __init__(
        self, function: Callable[..., Any], failed: Callable[[BaseException], None]
    ) -> None:
        self.function, self.failed = function, failed

    def __call__(self, *args: Any) -> None:
        if torch.compiler.is_compiling():
            return
        try:
            self.function(*args)
        except TrainingStoppedError:
            raise
        except Exception as error:
            self.failed(error)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _nothing()

    def __copy__(self) -> Callable[..., None]:
        return _nothing()

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")
