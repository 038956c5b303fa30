"""Python runs this at the start of every process in the environment that Houndsight makes.

It first runs the `sitecustomize` that it stands before. Then it waits: for botocore, to let STS
follow `AWS_ENDPOINT_URL` (the SDKs name `https://sts.REGION.amazonaws.com` themselves, which no
variable redirects), and for PyTorch, where `HOUNDSIGHT_JOB_WATCH` names a function
(`package.module:function`) to be called once it has been imported. `HOUNDSIGHT_JOB_LEGACY` asks
for the shims of older frameworks. What is never imported costs nothing; without the variables
nothing changes.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs 10 ms
PUBLIC_STS = re.compile(r"https://sts(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?/?")
ENDPOINT_URL = 4
"""Where `endpoint_url` stands among what follows `create_client`'s service name."""


def _run_the_one_behind() -> None:
    places = [os.path.abspath(entry or os.curdir) for entry in sys.path]  # noqa: PTH100
    behind = sys.path[places.index(HERE) + 1 :] if HERE in places else []
    spec = PathFinder.find_spec("sitecustomize", behind)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


class _Later:
    """A finder that calls a function when a module has been imported."""

    def __init__(self, waiting: dict[str, Callable[[ModuleType], None]]) -> None:
        self._waiting = waiting
        self._busy: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        then = self._waiting.get(name)
        # A forked script runs this file again, beside the finder that its parent had: each would
        # ask the other.
        if then is None or name in self._busy:
            return None
        self._busy.add(name)
        try:
            spec = self._ask_others(name, path, target)
        finally:
            self._busy.discard(name)
        loader: Any = spec and spec.loader
        if loader is not None and hasattr(loader, "exec_module"):
            _follow(loader, then)
        return spec

    def _ask_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None


def _follow(loader: Any, then: Callable[[ModuleType], None]) -> None:
    execute = loader.exec_module

    def execute_and_tell(module: ModuleType) -> None:
        execute(module)
        then(module)

    loader.exec_module = execute_and_tell


def _let_sts_follow(session: ModuleType) -> None:
    original = session.Session.create_client
    if getattr(original, "follows_endpoint_url", False):
        return

    def create_client(self: Any, service_name: str, *args: Any, **named: Any) -> Any:
        if service_name == "sts" and os.environ.get("AWS_ENDPOINT_URL"):
            if PUBLIC_STS.fullmatch(named.get("endpoint_url") or ""):
                named["endpoint_url"] = None
            elif len(args) > ENDPOINT_URL and PUBLIC_STS.fullmatch(args[ENDPOINT_URL] or ""):
                args = (*args[:ENDPOINT_URL], None, *args[ENDPOINT_URL + 1 :])
        return original(self, service_name, *args, **named)

    create_client.__doc__ = original.__doc__
    create_client.__dict__["follows_endpoint_url"] = True
    session.Session.create_client = create_client


def _watch(_: ModuleType | None = None) -> None:
    named = os.environ.get("HOUNDSIGHT_JOB_WATCH", "")
    if named and named not in _called:
        _called.add(named)
        _call(named)


def _call(named: str) -> None:
    """Call `package.module:function`; what fails must not end somebody's script."""
    module, _, function = named.partition(":")
    try:
        __import__(module)
        getattr(sys.modules[module], function)()
    except Exception as error:
        print(f"houndsight: {named} could not be called: {error}", file=sys.stderr)


def _when_imported(name: str, then: Callable[[ModuleType], None]) -> None:
    if name in sys.modules:
        then(sys.modules[name])
    else:
        _waiting[name] = then


def begin() -> None:
    """Do what the environment asks for; a second call does what has come to it since.

    Called at Python's start, and by a forked process that was given another environment.
    """
    if _later not in sys.meta_path:
        sys.meta_path.insert(0, _later)
    _when_imported("botocore.session", _let_sts_follow)
    if os.environ.get("HOUNDSIGHT_JOB_WATCH"):
        _when_imported("torch", _watch)
    legacy = "houndsight.compat.legacy:begin"
    if os.environ.get("HOUNDSIGHT_JOB_LEGACY") and legacy not in _called:
        _called.add(legacy)
        _call(legacy)
    if any("pip" in part for part in sys.orig_argv[:4]):
        _tell_pip()


def _tell_pip() -> None:
    try:
        from houndsight.compat.pip_note import say
    except ImportError:  # a Python of another environment
        return
    say()


_called: set[str] = set()
_waiting: dict[str, Callable[[ModuleType], None]] = {}
_later = _Later(_waiting)
try:
    _run_the_one_behind()
finally:
    begin()
