"""The control plane's process: one for a home, found again, at the same address after its death."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from houndsight.aws import server
from houndsight.aws.server import (
    Listening,
    Options,
    answers,
    find_running,
    last_port,
    serve,
    start,
    stop,
)
from houndsight.errors import HoundsightError, RunLockedError, SettingError
from houndsight.jobs.layout import PlatformHome


@pytest.fixture
def home(tmp_path: Path) -> Iterator[PlatformHome]:
    place = PlatformHome(tmp_path / "my state" / "platform")
    yield place
    running = find_running(place)
    if running is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)


def died(home: PlatformHome, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    waited = threading.Event()
    while find_running(home) is not None:
        waited.wait(0.02)


def test_it_starts_is_found_dies_and_starts_at_the_same_address(home: PlatformHome) -> None:
    assert find_running(home) is None
    first = start(home, Options(port=0))
    assert answers(first)
    assert find_running(home) == first
    key = home.keys.read_bytes()
    with pytest.raises(RunLockedError, match=f"runs already at {first.address}"):
        serve(home, Options(port=0))
    died(home, first.pid)
    assert not answers(first)
    second = start(home, Options())
    assert second.address == first.address
    assert second.pid != first.pid
    assert home.keys.read_bytes() == key
    assert stop(home) == second
    assert stop(home) is None
    assert last_port(home) == second.port


def test_a_process_that_has_a_dead_ones_number_is_left_alone(
    home: PlatformHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one holds the lock already, and has not yet said who it is."""
    monkeypatch.setattr(server, "STOP_S", 0.2)
    home.root.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        before = {"address": "http://127.0.0.1:1", "port": 1, "pid": innocent.pid}
        home.server.write_text(json.dumps({**before, "start_time": 1, "boot_id": "another"}))
        home.lock.write_text(str(innocent.pid))
        with home.lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(HoundsightError, match="does not end"):
                stop(home)
        assert innocent.poll() is None
        innocent.communicate(b"\n")
    assert innocent.returncode == 0


def test_one_that_an_earlier_version_started_is_stopped(home: PlatformHome) -> None:
    first = start(home, Options(port=0))
    row = json.loads(home.server.read_bytes())
    del row["start_time"], row["boot_id"]
    home.server.write_text(json.dumps(row))
    ended = stop(home)
    assert ended is not None
    assert ended.pid == first.pid


def test_folders_named_relative_to_the_persons_stay_what_they_were(
    home: PlatformHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOUNDSIGHT_WEIGHTS", "weights")
    monkeypatch.setenv("HOUNDSIGHT_CACHE", "../cache")
    running = start(home, Options(port=0))
    told = Path(f"/proc/{running.pid}/environ").read_bytes().decode().split("\0")
    assert f"HOUNDSIGHT_WEIGHTS={tmp_path / 'weights'}" in told
    assert f"HOUNDSIGHT_CACHE={tmp_path / '../cache'}" in told
    stop(home)


def planes_of(home: PlatformHome) -> list[int]:
    pids: list[int] = []
    for child in psutil.Process().children():
        # It may end meanwhile, or be a zombie, which has no environment.
        with contextlib.suppress(psutil.Error):
            told = child.environ().get("HOUNDSIGHT_HOME")
            pids += [child.pid] if told == str(home.root.parent) else []
    return pids


def test_two_that_start_at_once_end_as_one(home: PlatformHome) -> None:
    found: list[Listening] = []
    threads = [
        threading.Thread(target=lambda: found.append(start(home, Options(port=0))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]
    # The other one does not wait for the first to end.
    assert planes_of(home) == [found[0].pid]


def test_a_port_that_is_taken_is_named(home: PlatformHome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HoundsightError, match=f"127.0.0.1:{port} cannot be listened on"):
            start(home, Options(port=port))


def test_a_damaged_key_file_is_named(home: PlatformHome) -> None:
    home.root.mkdir(parents=True)
    home.keys.write_text("{")
    with pytest.raises(HoundsightError, match=r"keys\.json is damaged"):
        start(home, Options(port=0))


def test_nobody_opens_the_machine_to_the_network_by_mistake(home: PlatformHome) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7"):
        with pytest.raises(SettingError, match="Leave one of them out"):
            start(home, Options(host=host, insecure=True))
    Options(host="::1", insecure=True).check()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"address": 1}', '{"later": true}'])
def test_a_damaged_address_file_is_as_none(home: PlatformHome, content: str) -> None:
    home.root.mkdir(parents=True)
    home.server.write_text(content)
    assert find_running(home) is None
    assert last_port(home) is None


def test_an_address_file_of_later_versions_is_read(home: PlatformHome) -> None:
    home.root.mkdir(parents=True)
    row = {"version": 1, "address": "http://x", "port": 5, "pid": 7, "more": "later"}
    home.server.write_text(json.dumps(row))
    assert last_port(home) == 5
