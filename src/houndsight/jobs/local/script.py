"""A forked child of the launcher becomes what `python SCRIPT ARGUMENTS` would have been."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib
import io
import os
import random
import sys
import threading
import time
import traceback
import types
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NoReturn

from houndsight.jobs.container.enter import enter
from houndsight.jobs.local.stub import die_with

__all__ = ["run_script"]

EXIT_NO_SCRIPT = 2
"""As Python's own when it cannot open its script."""
EXIT_NOT_FLUSHED = 120
"""As Python's own when its output cannot be written at the end."""


def run_script(command: Mapping[str, Any], stub: int) -> NoReturn:
    """Take on the job's environment, run the script as `__main__`, and end the process.

    Args:
        command: a host's entry of `launch.json`.
        stub: this process's parent, with which it dies.
    """
    fork, before = command["fork"], frozenset(sys.modules)
    inherited = os.environ.get("PYTHONPATH", "")
    try:
        enter(fork["plan"])
    except OSError as error:
        print(f"houndsight: the job's private /opt/ml could not be made: {error}", file=sys.stderr)
        sys.exit(1)
    die_with(stub)
    os.environ.clear()
    os.environ.update(command["environment"])
    time.tzset()
    _open_streams()
    script = os.path.abspath(fork["script"])  # noqa: PTH100 - `..` of a link's target is meant
    sys.argv = list(fork["argv"])
    sys.path[:] = _search_path(script, inherited)
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    importlib.invalidate_caches()
    _seed()
    _set_threads()
    code = 0
    try:
        _run_sitecustomize()
        _run(script, fork["script"])
    except SystemExit as end:
        code = _code_of(end)
    _leave(code, before)


def _open_streams() -> None:
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
            encoding=encoding or "utf-8",
            errors=errors or ("surrogateescape" if number == 1 else "backslashreplace"),
            line_buffering=number == 2,
            write_through=unbuffered,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _search_path(script: str, inherited: str) -> list[str]:
    """As Python makes it: the script's folder, `PYTHONPATH`, the installation."""
    mine = {os.path.abspath(part) for part in inherited.split(os.pathsep) if part}  # noqa: PTH100
    # What `python -m` put in front, and the launcher's own PYTHONPATH, are not the script's.
    installation = [p for p in sys.path[1:] if os.path.abspath(p) not in mine]  # noqa: PTH100
    given = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return [os.path.dirname(os.path.realpath(script)), *given, *installation]  # noqa: PTH120


def _seed() -> None:
    """Children of one process would all draw the same numbers."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _set_threads() -> None:
    """The libraries read these variables when they were loaded."""
    count = os.environ.get("OMP_NUM_THREADS", "")
    torch = sys.modules.get("torch")
    if torch is not None and count.isdigit() and int(count):
        torch.set_num_threads(int(count))


def _run_sitecustomize() -> None:
    """Python's start has done this long ago, with another path and environment."""
    for name in ("sitecustomize", "usercustomize"):
        sys.modules.pop(name, None)
    try:
        importlib.import_module("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            traceback.print_exc()
    except Exception:
        traceback.print_exc()


def _run(path: str, said: str) -> None:
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        text = f"[Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: can't open file {said!r}: {text}", file=sys.stderr)
        sys.exit(EXIT_NO_SCRIPT)
    module = types.ModuleType("__main__")
    module.__file__, module.__spec__ = path, None
    module.__dict__.update(
        __builtins__=builtins, __loader__=SourceFileLoader("__main__", path), __cached__=None
    )
    sys.modules["__main__"] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        # The script's traceback begins with the script.
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(1)


def _code_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _say_nothing(_: Any) -> None:
    return None


def _leave(code: int, inherited: frozenset[str]) -> NoReturn:
    """End the process as Python ends it (`Py_FinalizeEx`), but for what the launcher imported.

    Taking PyTorch's own modules apart would copy 200 MB of shared memory first, to no end.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    # Daemon threads still run; that their modules vanish is no news.
    threading.excepthook = _say_nothing
    for name in [name for name in sys.modules if name not in inherited or name == "__main__"]:
        with contextlib.suppress(AttributeError, KeyError):
            sys.modules.pop(name).__dict__.clear()
    gc.collect()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except OSError:
        code = code or EXIT_NOT_FLUSHED
    ctypes.CDLL(None).fflush(None)
    os._exit(code)
