"""A process that has imported PyTorch and forks scripts on request, so that they start at once.

    python -m houndsight.jobs.local.launcher HOME IDLE_SECONDS

It imports torch and torchvision and runs no operator: a child forked after one would hang, because
the threads of the operator's pool do not come along. For a script it forks twice: the first child
claims the host, forks the script and becomes the stub by exec, so that nothing but the script holds
PyTorch. After ten idle minutes it ends.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from houndsight.jobs.layout import HostFolder, JobFolder, PlatformHome
from houndsight.jobs.local.launching import (
    STUB,
    launcher_file,
    launcher_socket,
    read_launch,
    who_asks,
)
from houndsight.jobs.local.processes import write_identity
from houndsight.jobs.local.script import run_script
from houndsight.jobs.local.stub import SIGNALS, become_stub, claim, open_stdio, protect_others

__all__ = ["main", "needs_fresh_start"]

IMPORTED = ("torch", "torchvision")
REQUEST_SECONDS = 10.0
BACKLOG = 64
HARMLESS = frozenset(
    {
        "PYTHONPATH",
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONIOENCODING",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "TORCH_HOME",
    }
)
"""Of those below, what a forked script can still be given."""
READ_AT_START = (
    *("PYTHON", "LD_", "MALLOC_", "GLIBC_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("TORCH", "PYTORCH_", "ATEN_", "DNNL_", "ONEDNN_"),
)
"""Variables that Python and PyTorch read when they start: too late for a forked script."""

Script = Callable[[], None]


def needs_fresh_start(environment: Mapping[str, str]) -> str:
    """The first variable that a forked script could not be given any more; "" if there is none."""
    for name, value in environment.items():
        if (
            name.startswith(READ_AT_START)
            and name not in HARMLESS
            and os.environ.get(name) != value
        ):
            return name
    return ""


class Launcher:
    """Takes requests one after the other; a fork takes milliseconds."""

    def __init__(self, home: PlatformHome, listener: socket.socket, lock: int) -> None:
        self._home, self._listener, self._lock = home, listener, lock

    def serve(self, idle_s: float) -> Script | None:
        """Until nothing was asked for `idle_s`; in a forked child, what that child has to do."""
        while select.select([self._listener], [], [], idle_s)[0]:
            connection, _ = self._listener.accept()
            with connection:
                try:
                    script = self._answer(connection)
                except (OSError, ValueError, KeyError, TypeError) as error:
                    _say(f"a request could not be answered: {error!r}")
                    continue
            if script is not None:
                return script
        return None

    def _answer(self, connection: socket.socket) -> Script | None:
        connection.settimeout(REQUEST_SECONDS)
        if _peer(connection) != os.geteuid():
            return None
        request = json.loads(connection.makefile("rb").readline(65_536))
        folder, name = JobFolder(Path(request["folder"])), request["host"]
        launch = read_launch(folder)
        command = launch["hosts"].get(name) if launch else None
        refused = _refusal(request, command)
        if refused or command is None:
            _reply(connection, {"refused": refused})
            return None
        if os.fork():
            return None
        try:
            return self._become_stub(connection, folder, folder.host(name), command)
        except BaseException:
            # Never back into the loop: there is one launcher.
            traceback.print_exc()
            os._exit(1)

    def _become_stub(
        self,
        connection: socket.socket,
        folder: JobFolder,
        host: HostFolder,
        command: Mapping[str, Any],
    ) -> Script:
        """In the child: fork the script, then become its stub. Returns in the script's process."""
        self._listener.close()
        os.close(self._lock)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        begun = time.time()
        if not claim(str(host.path)):
            _reply(connection, {"refused": "the host was started already"})
            os._exit(0)
        become_stub()
        stub = os.getpid()
        script = os.fork()
        if script:
            _reply(connection, {"pid": stub})
            connection.close()
            argv = [sys.executable, "-I", "-S", str(STUB), str(folder.path), host.name]
            os.execv(sys.executable, [*argv, str(script), repr(begun)])
        connection.close()
        protect_others(stub)
        open_stdio(str(host.path))
        return lambda: run_script(command, stub)


def main(argv: list[str]) -> None:
    """Serve, or, in a child that was forked for it, run a script."""
    home, idle_s = PlatformHome(Path(argv[0])), float(argv[1])
    lock = os.open(home.root / "launcher.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    listener = _listen(home)
    write_identity(launcher_file(home))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in IMPORTED:
        importlib.import_module(name)
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", append=True)
    gc.collect()
    gc.freeze()
    script = Launcher(home, listener, lock).serve(idle_s)
    if script is not None:
        script()


def _listen(home: PlatformHome) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with launcher_socket(home) as address:
        Path(address).unlink(missing_ok=True)
        listener.bind(address)
    listener.listen(BACKLOG)
    return listener


def _refusal(request: Mapping[str, Any], command: Mapping[str, Any] | None) -> str:
    if {name: request.get(name) for name in who_asks()} != who_asks():
        return "the launcher is of another installation"
    if command is None or not command.get("fork"):
        return "nothing to fork"
    variable = needs_fresh_start(command["environment"])
    return f"{variable} is read when Python starts" if variable else ""


def _peer(connection: socket.socket) -> int:
    row = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", row)[1])


def _reply(connection: socket.socket, answer: Mapping[str, Any]) -> None:
    try:
        connection.sendall(json.dumps(answer).encode() + b"\n")
    except OSError as error:
        _say(f"nobody waits for the answer: {error}")


def _say(text: str) -> None:
    print(f"houndsight launcher: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
