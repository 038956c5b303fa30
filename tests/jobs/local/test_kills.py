"""SIGKILL of the control plane, a supervisor, a stub, a script: at every write, and at random.

Whatever is killed: every job ends, says truly how, ran once, and no line of its log is lost.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small_platform import PATIENCE_S, make_service, printed
from stand_ins import HERE

from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.processes import is_alive, read_identity
from houndsight.jobs.local.stub import process_table

JOBS = ["one:20", "two:20"]


def start_control(home: Path, die_at: str = "", jobs: list[str] = JOBS) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "DIE_AT": die_at,
        "DIE_LOG": str(home / "writes"),
        "PYTHONPATH": str(HERE),
    }
    return subprocess.Popen(
        [sys.executable, str(HERE / "control.py"), str(home), *jobs],
        env=environment,
        stdout=subprocess.PIPE,
    )


def results(control: subprocess.Popen[bytes]) -> dict[str, Any]:
    output = control.communicate(timeout=PATIENCE_S)[0]
    assert control.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


def run_with_deaths(home: Path, die_at: str) -> dict[str, Any]:
    """Run the jobs while one process dies; a dead control plane is started again."""
    control = start_control(home, die_at)
    output = control.communicate(timeout=PATIENCE_S)[0]
    if control.returncode == 0:
        found: dict[str, Any] = json.loads(output)
        return found
    assert control.returncode == -signal.SIGKILL
    return results(start_control(home))


def check(home: Path, ended: dict[str, Any], *, may_fail: bool = False) -> None:
    """What must hold whoever was killed."""
    ran = Counter((home / "runs").read_text().split()) if (home / "runs").exists() else Counter()
    service = make_service(home)
    for name, status in ended.items():
        lines = [line for line in printed(service, name) if line.startswith("line ")]
        wanted = [f"line {number} loss={number}" for number in range(20)]
        if may_fail and status["state"] == "Failed":
            assert "was killed" in status["failure_reason"]
            assert ran[name] <= 1
            assert lines == wanted[: len(lines)]
            continue
        assert (status["state"], status["exit_code"]) == ("Completed", 0), status
        assert ran[name] == 1
        assert lines == wanted
        values = [row["value"] for row in service.metrics(name)]
        assert values == [float(number) for number in range(20)]
        assert status["metrics"]["loss"][0] == 19.0
    service.close()


def writes_of(home: Path, who: str) -> int:
    """How many writes a process of that kind did at most, in a run without deaths."""
    results(start_control(home, f"{who}:0"))
    numbers = re.findall(rf"^{who} (\d+) ", (home / "writes").read_text(), re.MULTILINE)
    return max(map(int, numbers))


@pytest.mark.parametrize("die_at", ["control:9", "supervisor:12"])
def test_whoever_is_killed_the_jobs_complete(tmp_path: Path, die_at: str) -> None:
    check(tmp_path, run_with_deaths(tmp_path, die_at))
    assert (tmp_path / "writes.died").exists()


@pytest.mark.parametrize("die_at", ["stub:3"])
def test_a_killed_stub_is_told_truly(tmp_path: Path, die_at: str) -> None:
    check(tmp_path, run_with_deaths(tmp_path, die_at), may_fail=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("who", ["control", "supervisor", "stub"])
def test_every_write_may_be_the_last(tmp_path: Path, who: str) -> None:
    count = writes_of(tmp_path / "whole", who)
    assert count > 2
    for number in range(1, count + 1):
        home = tmp_path / f"{who}-{number}"
        home.mkdir()
        check(home, run_with_deaths(home, f"{who}:{number}"), may_fail=who == "stub")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(20))
def test_kills_at_random_moments(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    home = PlatformHome(tmp_path)
    deaths = chance.choices(["control", "supervisor", "script"], [4, 4, 1], k=3)
    control = start_control(tmp_path)
    for victim in deaths:
        time.sleep(chance.uniform(0.0, 1.5))
        if victim == "control":
            control.kill()
            control.communicate()
            control = start_control(tmp_path)
            continue
        folder = home.training_job(chance.choice(["one", "two"]))
        process = read_identity(
            folder.supervisor if victim == "supervisor" else folder.host("algo-1").process
        )
        if process is not None and is_alive(process):
            _kill(process["pid"], children=victim == "script")
    check_after_random(tmp_path, results(control), "script" in deaths)


def check_after_random(home: Path, ended: dict[str, Any], script_killed: bool) -> None:
    killed = {name for name, status in ended.items() if status["state"] == "Failed"}
    assert not killed or script_killed
    for name in killed:
        assert ended[name]["exit_code"] == 137
        assert "-9" in ended[name]["failure_reason"]
    check(home, {name: status for name, status in ended.items() if name not in killed})


def _kill(pid: int, *, children: bool) -> None:
    table = process_table()
    victims = [n for n, row in table.items() if row["parent"] == pid] if children else [pid]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
