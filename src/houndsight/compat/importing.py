"""Doing something once a module has been imported, and offering one that is no more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["offer", "when_imported"]

Then = Callable[[ModuleType], None]


def when_imported(name: str, then: Then) -> None:
    """Call `then(module)` once `name` has been imported: now, if it is."""
    if name in sys.modules:
        then(sys.modules[name])
        return
    _install()
    _finder.waiting.setdefault(name, []).append(then)


def offer(name: str, make: Callable[[ModuleType], None]) -> None:
    """Let `import name` find a module that `make` fills, if nothing else of that name is there."""
    _install()
    _last.made[name] = make


class _Finder:
    """The first finder: asks the others, and follows what they find."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Then]] = {}
        self._busy: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting or name in self._busy:
            return None
        self._busy.add(name)
        try:
            spec = self._ask_others(name, path, target)
        finally:
            self._busy.discard(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            self._follow(spec.loader, name)
        return spec

    def _ask_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                return spec
        return None

    def _follow(self, loader: Any, name: str) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for then in self.waiting.pop(name, ()):
                then(module)

        loader.exec_module = exec_module


class _Last:
    """The last finder: makes what nobody has."""

    def __init__(self) -> None:
        self.made: dict[str, Callable[[ModuleType], None]] = {}

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        make = self.made.get(name)
        return None if make is None else ModuleSpec(name, _Maker(make), origin="houndsight")


class _Maker(Loader):
    def __init__(self, make: Callable[[ModuleType], None]) -> None:
        self._make = make

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002
        return None

    def exec_module(self, module: ModuleType) -> None:
        self._make(module)


def _install() -> None:
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if _last not in sys.meta_path:
        sys.meta_path.append(_last)


_finder = _Finder()
_last = _Last()
