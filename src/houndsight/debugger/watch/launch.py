"""Start a script so that its training is watched, and pass on what it says and how it ends."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from houndsight.debugger.following import FindingsFollower
from houndsight.debugger.watch.orders import VARIABLE, Orders, notes
from houndsight.debugger.watch.slots import folders
from houndsight.errors import RunError, SettingError
from houndsight.findings import Finding
from houndsight.runs import Run, RunStatus

__all__ = ["Watch", "command_line", "evaluator_alive"]

SITE = Path(__file__).with_name("site")
EVERY_SECONDS = 0.25
AWAIT_VERDICT_SECONDS = 60.0
"""How long the last look of the rules is waited for."""
GRACE_SECONDS = 5.0
"""Between asking a script to end and ending it."""
PASSED_ON = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGINT")


class Watch:
    """A script run under watch.

    Args:
        command: the script's command line, as a person would type it.
        orders: what to do in it; its folder must not hold a run.
        cwd: where it runs; here by default.
        origin: what `cwd` is a copy of, for the record.

    Raises:
        RunError: the folder holds a run already, or cannot be written.
        SettingError: there is no such command.
    """

    def __init__(
        self,
        command: Sequence[str],
        orders: Orders,
        *,
        cwd: Path | None = None,
        origin: Path | None = None,
    ) -> None:
        self.command, self.orders, self.cwd = command_line(command), orders, cwd
        self.folder = Path(orders.folder)
        self.run = Run.create(self.folder, kind="job", config=self._config(origin))
        (self.folder / "logs").mkdir(exist_ok=True)
        self._followers: dict[Path, FindingsFollower] = {}

    def _config(self, origin: Path | None) -> dict[str, Any]:
        where = str((origin or self.cwd or Path.cwd()).resolve())
        return {"watch": {"command": self.command, "cwd": where}}

    def start(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start it; `options` go to `subprocess.Popen`.

        Raises:
            SettingError: it cannot be started.
        """
        environment = environment_for(self.orders)
        try:
            return subprocess.Popen(self.command, env=environment, cwd=self.cwd, **options)
        except OSError as error:
            self.run.set_status(RunStatus.FAILED, f"{self.command[0]}: {error.strerror}")
            raise SettingError(
                f"{self.command[0]} cannot be started: {error.strerror}; "
                "write the command after -- as you would without Houndsight."
            ) from error

    def follow(
        self,
        tell: Callable[[Path, Finding], None],
        *,
        limit_s: float = math.inf,
        **options: Any,
    ) -> int:
        """Run it to its end, telling findings as they appear; returns its exit status.

        A script that a signal ended gives the signal's number, negative. After `limit_s` it is
        ended; `options` go to `subprocess.Popen`.
        """
        begun = time.monotonic()
        with _signals_passed_on() as receiver:
            process = self.start(**options)
            receiver.append(process)
            while (status := _wait(process)) is None:
                self.tell_news(tell)
                over = time.monotonic() - begun - limit_s
                if over > 0:
                    process.send_signal(signal.SIGTERM if over < GRACE_SECONDS else signal.SIGKILL)
        self.await_verdicts()
        self.tell_news(tell)
        self._note_end(status)
        return status

    def tell_news(self, tell: Callable[[Path, Finding], None]) -> None:
        """Tell the findings that are new in the folder of any model."""
        for folder in folders(self.folder):
            follower = self._followers.get(folder)
            if follower is None:
                follower = self._followers[folder] = FindingsFollower(folder / "findings.jsonl")
            for finding in follower.news():
                tell(folder, finding)

    def await_verdicts(self) -> None:
        """Wait until the rules have judged the last step."""
        end = time.monotonic() + AWAIT_VERDICT_SECONDS
        while time.monotonic() < end and any(map(evaluator_alive, self.attached())):
            time.sleep(0.1)

    def attached(self) -> list[Path]:
        """The folders of the models that were watched."""
        told = [n for n in notes(self.folder) if n["kind"] == "attached"]
        return [Path(folder) for folder in dict.fromkeys(str(n["folder"]) for n in told)]

    def why_nothing(self) -> str:
        """Why no model was watched, as a sentence; empty when one was."""
        told = {n["kind"]: n for n in notes(self.folder)}
        if "attached" in told:
            return ""
        if "fault" in told:
            return f"Nothing was watched, for a fault of Houndsight's own: {told['fault']['text']}."
        if "hooked" in told:
            return (
                f"The script has a Hook of its own on {told['hooked']['model']}; that one watches."
            )
        if "torch" in told:
            return "No training was seen: no module was called whose parameters an optimizer holds."
        return (
            "No training was seen: no Python that has Houndsight imported PyTorch. Install "
            "Houndsight in the environment that the script runs in, and start Python without "
            "-I, -E or -S."
        )

    def _note_end(self, status: int) -> None:
        for folder in {self.folder, *self.attached()}:
            with contextlib.suppress(RunError):
                run = Run.open(folder)
                if status == 0:
                    run.set_status(RunStatus.COMPLETED)
                elif status < 0:
                    run.set_status(RunStatus.STOPPED, f"It was ended by {_signal_name(-status)}.")
                else:
                    run.set_status(RunStatus.FAILED, f"It ended with exit status {status}.")


def environment_for(orders: Orders) -> dict[str, str]:
    """The environment of a watched script."""
    behind = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(SITE), *([behind] if behind else [])])
    return {**os.environ, "PYTHONPATH": path, VARIABLE: orders.to_environment()}


def command_line(command: Sequence[str]) -> list[str]:
    """The command as it is started: `train.py` alone is run by this Python.

    So is `python` where the one on the path cannot have Houndsight: there is none, or it is
    another environment's.

    Raises:
        SettingError: there is no command.
    """
    if not command:
        raise SettingError("Name the script to watch: houndsight watch -- python train.py")
    first, *rest = command
    if first.endswith(".py"):
        return [sys.executable, *command]
    if first in ("python", "python3") and not _has_houndsight(first):
        return [sys.executable, *rest]
    return list(command)


def _has_houndsight(python: str) -> bool:
    found = shutil.which(python)
    if found is None:
        return False
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('houndsight') is None)"
    done = subprocess.run([found, "-c", code], capture_output=True, check=False)
    return done.returncode == 0


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(EVERY_SECONDS)
    except subprocess.TimeoutExpired:
        return None


@contextlib.contextmanager
def _signals_passed_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    """While it lasts, signals that this process gets go to the script, which decides."""
    receiver: list[subprocess.Popen[bytes]] = []
    if threading.current_thread() is not threading.main_thread():
        yield receiver
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        # Ctrl-C in a terminal reaches the script by itself.
        if receiver and not (number == signal.SIGINT and _in_foreground()):
            with contextlib.suppress(ProcessLookupError):
                receiver[0].send_signal(number)

    before: Mapping[signal.Signals, Any] = {
        each: signal.signal(each, pass_on) for each in (getattr(signal, name) for name in PASSED_ON)
    }
    try:
        yield receiver
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def evaluator_alive(run: Path) -> bool:
    """Whether the process that judges this run is at work."""
    try:
        process = int((run / "logs" / "evaluator.pid").read_text())
        os.kill(process, 0)
        # On Linux one that has ended and waits for its parent is there, without a command line.
        about = Path(f"/proc/{process}/cmdline")
        return str(run).encode() in about.read_bytes() if Path("/proc/self").exists() else True
    except (OSError, ValueError):
        return False
