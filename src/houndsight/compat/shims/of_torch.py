"""PyTorch: what 1.10 to 2.7 removed or made stricter."""

from __future__ import annotations

import functools
import inspect
import pickle
from types import ModuleType
from typing import Any

from houndsight.compat.saying import say_once

__all__ = ["accept_verbose", "load_whole_models", "make_six", "restore_next"]


def load_whole_models(torch: ModuleType) -> None:
    """`torch.load` of a whole model, which 2.6 refuses unless `weights_only=False` is said.

    In a job the file is the script's own, and loading it runs no code but the script's.
    """
    load = torch.load

    @functools.wraps(load)
    def load_more(f: Any, *args: Any, **named: Any) -> Any:
        if named.get("weights_only") is not None:
            return load(f, *args, **named)
        place = f.tell() if hasattr(f, "tell") and hasattr(f, "seek") else None
        try:
            return load(f, *args, **named)
        except pickle.UnpicklingError as error:
            if "Weights only load failed" not in str(error):
                raise
        if place is not None:
            f.seek(place)
        say_once(
            "torch.load",
            "torch.load reads more than tensors here, as it did before PyTorch 2.6"
            " (weights_only=False): the file is the script's own.",
        )
        return load(f, *args, **{**named, "weights_only": False})

    torch.load = load_more  # type: ignore[attr-defined]


def accept_verbose(module: ModuleType) -> None:
    """`ReduceLROnPlateau(optimizer, verbose=True)`: the argument that 2.7 removed is left out."""
    for name, kind in list(vars(module).items()):
        if not inspect.isclass(kind) or "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(kind.__init__).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if "optimizer" in parameters and "verbose" not in parameters and not takes_any:
            setattr(kind, "__init__", _without_verbose(vars(kind)["__init__"], name))  # noqa: B010


def _without_verbose(init: Any, name: str) -> Any:
    @functools.wraps(init)
    def accepting(self: Any, *args: Any, **named: Any) -> None:
        if "verbose" in named:
            del named["verbose"]
            say_once(
                "verbose",
                f"{name} takes no verbose= since PyTorch 2.7; it is left out"
                " (get_last_lr() tells the rate).",
            )
        init(self, *args, **named)

    return accepting


def restore_next(module: ModuleType) -> None:
    """`iter(loader).next()` is `next(iter(loader))`."""

    def step(self: Any) -> Any:
        say_once(
            "next", "iterator.next() was removed in PyTorch 1.13; next(iterator) is used here."
        )
        return next(self)

    kind = module._BaseDataLoaderIter
    if not hasattr(kind, "next"):
        kind.next = step


def make_six(module: ModuleType) -> None:
    """`torch._six`, as it was in 1.8."""
    import collections.abc
    import math

    say_once("torch._six", "torch._six was removed in PyTorch 2.0; a stand-in is used here.")
    values = {
        "inf": math.inf,
        "nan": math.nan,
        "string_classes": (str, bytes),
        "int_classes": int,
        "container_abcs": collections.abc,
        "PY3": True,
        "PY37": True,
    }
    vars(module).update(values)
