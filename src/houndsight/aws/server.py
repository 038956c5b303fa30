"""The control plane's process: started once for a home folder, found again, stopped.

`server.lock` is held (flock) for as long as it lives, so that death of any kind releases it;
`server.json` says where it listens, and is kept afterwards, so that the next one takes the same
port and shells whose environment names it go on working.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from houndsight.aws.hosts import HEALTH, AllowedHosts, is_loopback
from houndsight.errors import HoundsightError, RunLockedError, SettingError
from houndsight.files import write_atomic
from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.processes import send
from houndsight.jobs.local.stub import identity

__all__ = ["Listening", "Options", "find_running", "last_port", "serve", "start", "stop"]

VERSION = 1
DEFAULT_PORT = 8765
START_S = 60.0
STOP_S = 20.0
LONGEST_LOG = 5_000_000
FOLDERS = ("HOUNDSIGHT_CACHE", "HOUNDSIGHT_HOME", "HOUNDSIGHT_WEIGHTS", "TORCH_HOME")
"""Variables that name a folder, which may be relative to the person's."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a control plane is started."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: the last one's, or the usual, or any free one. 0: any free one."""
    allow_hosts: tuple[str, ...] = ()
    insecure: bool = False

    def check(self) -> None:
        """Refuse what would open this machine to everybody.

        Raises:
            SettingError: the check of signatures is off on an address that others reach.
        """
        if self.insecure and not is_loopback(self.host):
            raise SettingError(
                f"--insecure with --host {self.host} would let everybody on the network run"
                " programs here. Leave one of them out."
            )


@dataclass(frozen=True, kw_only=True)
class Listening:
    """A running control plane."""

    address: str
    port: int
    pid: int
    host: str = "127.0.0.1"
    insecure: bool = False
    allow_hosts: tuple[str, ...] = ()
    start_time: int = 0
    """With `boot_id`, what tells it from a later process of its number."""
    boot_id: str = ""


def find_running(home: PlatformHome) -> Listening | None:
    """The control plane of `home`, when one runs and has said where."""
    holder, found = _holder(home), _read(home)
    # What an earlier one wrote stands until the new one listens.
    return found if found is not None and str(found.pid) == holder else None


def _holder(home: PlatformHome) -> str | None:
    """The process that holds the lock; None when nobody does."""
    try:
        with home.lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read()
    except OSError:
        pass
    return None


def last_port(home: PlatformHome) -> int | None:
    """Where the last control plane of `home` listened."""
    before = _read(home)
    return before.port if before is not None else None


def start(home: PlatformHome, options: Options) -> Listening:
    """Start a control plane in the background, and return once it answers.

    Raises:
        HoundsightError: it ended, or did not answer in time; the sentence holds what it said.
    """
    options.check()
    home.root.mkdir(parents=True, exist_ok=True)
    _turn_log(home)
    began = home.log.stat().st_size if home.log.exists() else 0
    with home.log.open("ab") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "houndsight", "up", "--foreground", *_arguments(options)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            cwd=home.root,
            env={**_settled(os.environ), "HOUNDSIGHT_HOME": str(home.root.parent.absolute())},
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        running = find_running(home)
        if running is not None and answers(running):
            if running.pid != child.pid:
                # Another start was first. This one must not come up when that one is ended.
                child.kill()
                child.wait()
            child.returncode = 0  # it lives on, and Popen shall not complain of that
            return running
        # Of two that start at once the second ends, and this waits for the first.
        if child.poll() is not None and _holder(home) is None:
            raise HoundsightError(_what_it_said(home, began, f"ended ({child.returncode})"))
        time.sleep(0.05)
    child.kill()
    raise HoundsightError(_what_it_said(home, began, f"did not answer within {START_S:.0f} s"))


def stop(home: PlatformHome) -> Listening | None:
    """Stop the control plane, jobs go on; None when none runs.

    Raises:
        HoundsightError: it does not end.
    """
    running = find_running(home)
    if running is None:
        return None
    for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)):
        send(_process_of(running), number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if find_running(home) is None:
                return running
            time.sleep(0.05)
    raise HoundsightError(f"Process {running.pid} does not end: kill it by hand.")


def _process_of(running: Listening) -> Mapping[str, Any]:
    """Not its number alone: while another one begins, the files still name a dead one's."""
    # Earlier versions did not tell more.
    return dataclasses.asdict(running) if running.start_time else identity(running.pid)


def answers(running: Listening) -> bool:
    """Whether it takes requests."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(running.address + HEALTH, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def serve(
    home: PlatformHome, options: Options, *, ready: Callable[[Listening], None] | None = None
) -> None:
    """Be the control plane until SIGTERM or SIGINT.

    Raises:
        RunLockedError: there is one already.
        SettingError: the address cannot be listened on.
    """
    options.check()
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    os.environ.update(_settled(os.environ))
    home.root.mkdir(parents=True, exist_ok=True)
    with _locked(home), _listen(home, options) as listener:
        _serve(home, options, listener, ready)


def _serve(
    home: PlatformHome,
    options: Options,
    listener: socket.socket,
    ready: Callable[[Listening], None] | None,
) -> None:
    import uvicorn

    from houndsight.aws.app import make_app
    from houndsight.aws.environment import client_environment
    from houndsight.aws.platform import build_platform

    port = int(listener.getsockname()[1])
    listening = Listening(
        address=f"http://{_reached_at(options.host)}:{port}",
        port=port,
        host=options.host,
        insecure=options.insecure,
        allow_hosts=options.allow_hosts,
        **identity(os.getpid()),
    )
    platform = build_platform(home)
    platform.address = listening.address
    environment = client_environment(home, listening.address, platform.keys.first(), os.environ)
    # Supervisors inherit it, and scripts from them.
    for name in environment.unset:
        os.environ.pop(name, None)
    os.environ.update(
        {name: value for name, value in environment.values.items() if name != "PYTHONPATH"}
    )
    hosts = AllowedHosts(
        (*options.allow_hosts, options.host, socket.gethostname())
        if not is_loopback(options.host)
        else options.allow_hosts,
        addresses=not is_loopback(options.host),
    )
    app = make_app(platform, insecure=options.insecure, hosts=hosts)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                row = {"version": VERSION, **dataclasses.asdict(listening)}
                write_atomic(home.server, json.dumps(row).encode())
                if ready is not None:
                    ready(listening)

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        backlog=1024,
    )
    with _signals_end_quietly():
        Server(config).run(sockets=[listener])


@contextmanager
def _locked(home: PlatformHome) -> Iterator[IO[str]]:
    with home.lock.open("a+") as file:
        # Somebody who looks whether it is held holds it for a moment.
        for _ in range(20):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
        else:
            before = _read(home)
            where = f" at {before.address} (process {before.pid})" if before is not None else ""
            raise RunLockedError(
                f"A control plane for {home.root} runs already{where}: houndsight down ends it."
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file


def _listen(home: PlatformHome, options: Options) -> socket.socket:
    usual = [last_port(home) or DEFAULT_PORT, 0]
    wanted = usual if options.port is None else [options.port]
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    for port in wanted:
        try:
            listener = socket.create_server((options.host, port), family=family, backlog=1024)
            # Accepted sockets inherit it. asyncio sets it on none that it did not make itself, and
            # without it an answer's body waits 40 ms for the client's acknowledgement of its head.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return listener
        except (OSError, OverflowError, UnicodeError) as error:
            refused = error
    raise SettingError(
        f"{options.host}:{wanted[0]} cannot be listened on"
        f" ({getattr(refused, 'strerror', None) or refused}); choose --port or --host."
    )


def _read(home: PlatformHome) -> Listening | None:
    try:
        row = json.loads(home.server.read_bytes())
        known = {field.name for field in dataclasses.fields(Listening)}
        row["allow_hosts"] = tuple(row.get("allow_hosts", ()))
        return Listening(**{name: value for name, value in row.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _reached_at(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"[{host}]" if ":" in host else host


def _arguments(options: Options) -> list[str]:
    arguments = ["--host", options.host]
    if options.port is not None:
        arguments += ["--port", str(options.port)]
    for name in options.allow_hosts:
        arguments += ["--allow-host", name]
    return [*arguments, "--insecure"] if options.insecure else arguments


def _settled(environ: Mapping[str, str]) -> dict[str, str]:
    """With absolute folders: this process, its supervisors and their jobs work in others."""
    named = {name: environ[name] for name in FOLDERS if environ.get(name)}
    return {**environ, **{k: str(Path(v).expanduser().absolute()) for k, v in named.items()}}


def _turn_log(home: PlatformHome) -> None:
    if home.log.exists() and home.log.stat().st_size > LONGEST_LOG:
        home.log.replace(home.log.with_suffix(".log.1"))


def _what_it_said(home: PlatformHome, began: int, what: str) -> str:
    text = Path(home.log).read_bytes()[began:].decode(errors="replace").strip()
    last = text.splitlines()[-1].removeprefix("houndsight: ") if text else "it said nothing"
    return f"The control plane {what}: {last} ({home.log} has more.)"


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """uvicorn raises the signal again when it is done; by then everything has been answered."""
    before = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
