"""Names that a module has no longer, given when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from houndsight.compat.saying import say_once

__all__ = ["give"]


def give(
    module: ModuleType,
    names: Iterable[str],
    make: Callable[[str], Any],
    sentence: Callable[[str], str],
) -> None:
    """Let `module.NAME` be what `make(NAME)` returns, where the module itself has none.

    `sentence(name)` is said at the first use.
    """
    before = getattr(module, "__getattr__", None)
    missing = {name for name in names if name not in vars(module)}

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name in missing:
            say_once(f"{module.__name__}.{name}", sentence(name))
            return make(name)
        if before is not None:
            return before(name)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = __getattr__  # type: ignore[method-assign]
