"""Inside the process that becomes the script: its private `/opt/ml`, host name and log's head.

Imported by a forked child (`enter(plan)`), or run as a file in front of a command::

    python -I -S enter.py PLAN.json -- /bin/sh -c "python train.py --lr 0.1"

It needs nothing but the standard library's quickest parts, because every job waits for it.

With root's rights a mount namespace is enough. Without them a user namespace is made first, in
which this process may mount; a second one inside it gives the script the user's own identity back.
`/opt` becomes a small tmpfs into which all its entries but `ml` are bound back, so that nothing is
made on the machine itself. Channels and site-packages become overlays: what the script writes
into them stays with the job.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

__all__ = ["enter", "main"]

_NEWNS, _NEWUTS, _NEWUSER = 0x00020000, 0x04000000, 0x10000000
_BIND, _REC, _SLAVE = 0x1000, 0x4000, 0x80000
_SET_PDEATHSIG, _GET_PDEATHSIG = 1, 2


def enter(plan_path: str | os.PathLike[str]) -> None:
    """Do what the plan says; the process must have one thread.

    Raises:
        OSError: the system does not allow it; the message names the step.
    """
    with open(plan_path, "rb") as file:  # noqa: PTH123 - pathlib takes as long as the rest
        plan: dict[str, Any] = json.load(file)
    if plan.get("namespace"):
        _make_namespace(plan)
    if plan.get("preamble"):
        _print_file(plan["preamble"])
    os.chdir(plan["cwd"])


def main(argv: list[str]) -> int:
    """`PLAN -- COMMAND…`: enter, then become the command."""
    plan, separator, *command = argv
    assert separator == "--", "PLAN -- COMMAND"
    try:
        enter(plan)
    except OSError as error:
        print(f"houndsight: the job's private /opt/ml could not be made: {error}", file=sys.stderr)
        return 1
    if not command:
        return 0
    try:
        _become(command)
    except OSError as error:
        print(f"houndsight: {command[0]} cannot be executed: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def _become(command: list[str]) -> NoReturn:
    """Replace this process; a script without `#!` is the shell's, as wherever one is typed."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        os.execv("/bin/sh", ["sh", *command])


def _make_namespace(plan: Mapping[str, Any]) -> None:
    user, group = os.geteuid(), os.getegid()
    dying = _death_signal(), os.getppid()
    as_root = plan["namespace"] == "root"
    if as_root:
        _unshare(_NEWNS | _NEWUTS)
    else:
        _unshare(_NEWUSER | _NEWNS | _NEWUTS)
        _map_identity(0, user, 0, group)
    _mount("", "/", "", _REC | _SLAVE)
    for overlay in plan.get("overlays", ()):
        _overlay(overlay, as_root)
    for bind in plan.get("binds", ()):
        _mount(bind["source"], bind["target"], "", _BIND | _REC)
    _cover_opt(plan["ml"])
    if plan.get("hostname"):
        _sethostname(plan["hostname"])
    if not as_root:
        _unshare(_NEWUSER)
        _map_identity(user, 0, group, 0)
        _die_with_parent(*dying)


def _cover_opt(ml: str) -> None:
    """`/opt` as it was, except that `/opt/ml` is ours."""
    before = os.open("/opt", os.O_PATH | os.O_DIRECTORY)
    entries = [entry for entry in os.listdir("/opt") if entry != "ml"]  # noqa: PTH208
    source = os.open(ml, os.O_PATH | os.O_DIRECTORY)
    _mount("houndsight", "/opt", "tmpfs", 0, "size=1m,mode=755")
    for entry in entries:
        _put_back(f"/proc/self/fd/{before}/{entry}", f"/opt/{entry}")
    os.mkdir("/opt/ml")  # noqa: PTH102
    _mount(f"/proc/self/fd/{source}", "/opt/ml", "", _BIND | _REC)
    os.close(before)
    os.close(source)


def _put_back(source: str, target: str) -> None:
    if os.path.islink(source):  # noqa: PTH114
        os.symlink(os.readlink(source), target)  # noqa: PTH115, PTH211
        return
    if os.path.isdir(source):  # noqa: PTH112
        os.mkdir(target)  # noqa: PTH102
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    _mount(source, target, "", _BIND | _REC)


def _overlay(overlay: Mapping[str, str], as_root: bool) -> None:
    # Descriptors instead of paths, in which commas and colons would mean something.
    opened = {k: os.open(overlay[k], os.O_PATH) for k in ("lower", "upper", "work")}
    options = ",".join(f"{k}dir=/proc/self/fd/{fd}" for k, fd in opened.items())
    options += ",redirect_dir=on" if as_root else ",userxattr"
    _mount("overlay", overlay["target"], "overlay", 0, options)
    for descriptor in opened.values():
        os.close(descriptor)


def _map_identity(user: int, outer_user: int, group: int, outer_group: int) -> None:
    for name, text in (
        ("uid_map", f"{user} {outer_user} 1"),
        ("setgroups", "deny"),
        ("gid_map", f"{group} {outer_group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
            file.write(text)


def _death_signal() -> int:
    """The signal that this process gets when its parent dies, 0 for none."""
    number = ctypes.c_int()
    _libc.prctl(_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value


def _die_with_parent(number: int, parent: int) -> None:
    """Ask for that signal again, which a new user namespace makes undone."""
    if number:
        _libc.prctl(_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)


def _print_file(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123
        text = file.read()
    while text:
        text = text[os.write(1, text) :]


_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "no new namespace")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = (source.encode(), os.fsencode(target), kind.encode())
    done = _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None)
    _check(done, f"mounting {kind or source} at {target}")


def _sethostname(name: str) -> None:
    _check(_libc.sethostname(name.encode(), len(name)), "setting the host's name")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
