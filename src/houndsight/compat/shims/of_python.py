"""Python itself: names that 3.8 and 3.10 removed."""

from __future__ import annotations

import collections.abc
import time
from types import ModuleType

from houndsight.compat.shims.fallback import give

__all__ = ["restore_abstract_classes", "restore_clock"]

_CLASSES = ("Mapping", "MutableMapping", "Sequence", "MutableSequence", "Set", "Iterable")
_MORE = ("Iterator", "Callable", "Hashable", "Sized", "Container", "Generator")


def restore_abstract_classes(module: ModuleType) -> None:
    """`collections.Mapping` is `collections.abc.Mapping` again."""
    give(
        module,
        (*_CLASSES, *_MORE),
        lambda name: getattr(collections.abc, name),
        lambda name: (
            f"collections.{name} was removed in Python 3.10; collections.abc.{name} stands in for"
            " it here."
        ),
    )


def restore_clock(module: ModuleType) -> None:
    """`time.clock` is `time.perf_counter`."""
    give(
        module,
        ["clock"],
        lambda _: time.perf_counter,
        lambda _: "time.clock was removed in Python 3.8; time.perf_counter stands in for it here.",
    )
