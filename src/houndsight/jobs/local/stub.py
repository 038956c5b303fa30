"""The script's parent: it waits, and writes `exit.json` by rename when the script has ended.

Run as a file by an isolated Python, it needs nothing but the standard library and stays small::

    python -I -S stub.py JOB_FOLDER HOST            starts the host's command
    python -I -S stub.py JOB_FOLDER HOST PID TIME   waits for a script that the launcher forked

It claims the host by making `process.json`, which only one process can: no script starts twice.
The script's stdout and stderr are the log file itself. All that the script leaves behind becomes a
child of the stub (`PR_SET_CHILD_SUBREAPER`) and is killed when the script has ended; if the stub
is killed, the kernel kills the script. SIGTERM asks the script to end, SIGUSR1 kills everything.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

__all__ = [
    "become_stub",
    "boot_id",
    "claim",
    "descendants",
    "die_with",
    "identity",
    "open_stdio",
    "process_table",
    "protect_others",
    "start_time",
]

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
OOM_SCORE = "500"
"""When memory runs out the kernel ends the script, not the platform: proc_pid_oom_score_adj(5)."""
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh", "busybox"})
RESERVED_BYTES = 4096
"""Taken for `exit.json` before the script can fill the disk."""
KILL_SECONDS = 20.0
"""How long killed processes may take to vanish before the stub reports nevertheless."""
EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE = 127, 126
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


# -- who a process is -----------------------------------------------------------------------------


def boot_id() -> str:
    """Changes with every start of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
        return file.read().strip()


def start_time(pid: int) -> int:
    """When a process started, in ticks since the machine did; 0 if it is no more, or a zombie."""
    row = _stat(pid)
    return 0 if row is None or row["state"] in "ZX" else int(row["start"])


def identity(pid: int) -> dict[str, Any]:
    """What tells a process from every other that had or will have its number."""
    return {"pid": pid, "start_time": start_time(pid), "boot_id": boot_id()}


def process_table() -> dict[int, dict[str, Any]]:
    """Every process: parent, session, start and state."""
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    return {pid: row for pid in numbers if (row := _stat(pid)) is not None}


def descendants(pid: int, table: dict[int, dict[str, Any]]) -> list[int]:
    """Children, their children and so on; the nearest first."""
    children: dict[int, list[int]] = {}
    for number, row in table.items():
        children.setdefault(row["parent"], []).append(number)
    found = list(children.get(pid, []))
    for number in found:
        found += [child for child in children.get(number, []) if child not in found]
    return found


def _stat(pid: int) -> dict[str, Any] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return None
    name_ends = text.rindex(b")")
    fields = text[name_ends + 2 :].split()
    return {
        "name": text[text.index(b"(") + 1 : name_ends].decode(errors="replace"),
        "state": fields[0].decode(),
        "parent": int(fields[1]),
        "session": int(fields[3]),
        "start": int(fields[19]),
    }


# -- before the script ----------------------------------------------------------------------------


def claim(host: str) -> bool:
    """Make `process.json` for this process; False if another has made it."""
    aside = f"{host}/.process.json.{os.getpid()}"
    _write(aside, json.dumps({"format": 1, **identity(os.getpid())}).encode())
    try:
        os.link(aside, f"{host}/process.json")
    except FileExistsError:
        return False
    finally:
        os.unlink(aside)  # noqa: PTH108
    return True


def protect_others(parent: int) -> None:
    """In the script's process: it dies with its stub, is killed first when memory runs out."""
    die_with(parent)
    os.setpgid(0, 0)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write(OOM_SCORE)
    except OSError:
        pass
    for number in (*SIGNALS, signal.SIGPIPE, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies; a new user namespace makes this undone."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_NOT_EXECUTABLE)


def open_stdio(host: str) -> None:
    """Nothing to read; the log file for stdout and stderr."""
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(f"{host}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def become_stub() -> None:
    """What the script starts, and leaves behind, is this process's to wait for."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _start(host: str, command: dict[str, Any]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        protect_others(parent)
        open_stdio(host)
        os.chdir(command["cwd"])
        os.execvpe(command["argv"][0], command["argv"], command["environment"])
    except FileNotFoundError as error:
        _say(f"houndsight: {command['argv'][0]} cannot be started: {error}.")
        os._exit(EXIT_NOT_FOUND)
    except BaseException as error:
        _say(f"houndsight: {command['argv'][0]} cannot be started: {error}.")
        os._exit(EXIT_NOT_EXECUTABLE)


# -- while it runs, and after ---------------------------------------------------------------------


class Stub:
    """Waits for one script."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.script = 0
        self.ended = False
        self.begun = time.time()
        self.oom_kills = _oom_kills()
        self._asked: set[int] = set()
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def wait(self, script: int) -> None:
        """Until the script has ended, and all that it left; then write `exit.json`."""
        self.script = script
        with open(f"{self.host}/.exit.json", "wb") as file:  # noqa: PTH123
            _reserve(file.fileno())
            for number in list(self._asked):
                self._on_signal(number, None)
            status = self._wait_for_script()
            row = self._report(status)
            row["left_behind"] = kill_descendants(script)
            content = json.dumps(row).encode()
            os.pwrite(file.fileno(), content, 0)
            os.ftruncate(file.fileno(), len(content))
            os.fsync(file.fileno())
        os.rename(f"{self.host}/.exit.json", f"{self.host}/exit.json")  # noqa: PTH104

    def _wait_for_script(self) -> int:
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self.script:
                self.ended = True
                return status

    def _report(self, status: int) -> dict[str, Any]:
        code = os.waitstatus_to_exitcode(status)
        disk = os.statvfs(self.host)
        return {
            "format": 1,
            "code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "started": self.begun,
            "ended": time.time(),
            "oom_kills": max(0, _oom_kills() - self.oom_kills),
            "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        }

    def _on_signal(self, number: int, _frame: Any) -> None:
        self._asked.add(number)
        if not self.script or self.ended:
            return
        if number == signal.SIGUSR1:
            for pid in _family(self.script):
                _send(pid, signal.SIGKILL)
            return
        for pid in _foreground(self.script, process_table()):
            _send(pid, signal.SIGTERM)


def kill_descendants(script: int) -> int:
    """Kill and wait for all that is left below this process; how many there were."""
    deadline = time.monotonic() + KILL_SECONDS
    killed: set[int] = set()
    while time.monotonic() < deadline:
        if not _reap():
            break
        # Stopped first, so that none can have another child while its sister is killed.
        left = descendants(os.getpid(), process_table())
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                _send(pid, number)
        killed |= set(left)
        time.sleep(0.005)
    return len(killed - {script})


def _reap() -> bool:
    """Wait for whoever has ended; whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _family(script: int) -> list[int]:
    return [script, *descendants(script, process_table())]


def _foreground(pid: int, table: dict[int, dict[str, Any]]) -> list[int]:
    """Whom a signal is meant for: not the shell, which would leave its command behind."""
    children = [number for number, row in table.items() if row["parent"] == pid]
    if table.get(pid, {}).get("name") not in SHELLS or not children:
        return [pid]
    return [found for child in children for found in _foreground(child, table)]


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _oom_kills() -> int:
    """How many processes of this machine were killed because memory ran out."""
    try:
        with open("/proc/vmstat") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def _reserve(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, RESERVED_BYTES)
    except OSError:
        os.pwrite(descriptor, bytes(RESERVED_BYTES), 0)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _say(text: str) -> None:
    os.write(2, text.encode() + b"\n")


def main(argv: list[str]) -> int:
    """Start the host's command, or adopt the process that was forked for it; wait."""
    job, name, *forked = argv
    host = f"{job}/hosts/{name}"
    stub = Stub(host)
    become_stub()
    if forked:
        stub.begun = float(forked[1])
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stub.wait(int(forked[0]))
        return 0
    with open(f"{job}/launch.json", "rb") as file:  # noqa: PTH123
        command = json.load(file)["hosts"][name]
    if claim(host):
        stub.wait(_start(host, command))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
