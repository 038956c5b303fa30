"""Python runs this in every process of a watched script, before anything of the script.

It first runs the `sitecustomize` that it stands before, then waits for PyTorch to be imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent


def _run_the_one_behind() -> None:
    # Only what stands after it: another one that does the same may stand before.
    places = [Path(entry or ".").resolve() for entry in sys.path]
    behind = sys.path[places.index(HERE) + 1 :] if HERE in places else []
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", behind)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


class _WaitForTorch(importlib.abc.MetaPathFinder):
    """Calls `then` when PyTorch has been imported, and is gone."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != "torch":
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader: Any = spec and spec.loader
        if loader is not None:
            execute, then = loader.exec_module, self._then

            def execute_and_tell(module: ModuleType) -> None:
                execute(module)
                then()

            loader.exec_module = execute_and_tell
        return spec


def _watch() -> None:
    from houndsight.debugger.watch.attach import begin

    if "torch" in sys.modules:
        begin()
    else:
        sys.meta_path.insert(0, _WaitForTorch(begin))


try:
    _run_the_one_behind()
finally:
    try:
        _watch()
    except Exception as error:
        print(
            f"houndsight watch: {sys.executable} cannot be watched: {error}. "
            "Install Houndsight in the environment that the script runs in.",
            file=sys.stderr,
        )
