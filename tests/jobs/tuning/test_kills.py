"""SIGKILL of the control plane, a supervisor or a script while a tuning job runs.

Whatever is killed, and after whatever write: the tuning job completes, every trial is accounted
for, and none ran twice.
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

from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.processes import is_alive, read_identity
from houndsight.jobs.local.stub import process_table
from houndsight.jobs.states import Kind
from houndsight.jobs.store import JobStore

HERE = Path(__file__).parent
LOCAL = HERE.parent / "local"
JOBS = 4
PATIENCE_S = 180


def start_control(home: Path, die_at: str = "", jobs: int = JOBS) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "DIE_AT": die_at,
        "DIE_LOG": str(home / "writes"),
        "PYTHONPATH": str(LOCAL),
    }
    command = [sys.executable, str(HERE / "tuning_control.py"), str(home), str(jobs)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def results(control: subprocess.Popen[bytes]) -> dict[str, Any]:
    output = control.communicate(timeout=PATIENCE_S)[0]
    assert control.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


def run_with_deaths(home: Path, die_at: str) -> dict[str, Any]:
    """Run the tuning job while one process dies; a dead control plane is started again."""
    control = start_control(home, die_at)
    output = control.communicate(timeout=PATIENCE_S)[0]
    if control.returncode == 0:
        found: dict[str, Any] = json.loads(output)
        return found
    assert control.returncode == -signal.SIGKILL
    return results(start_control(home))


def check(home: Path, ended: dict[str, Any], *, jobs: int = JOBS, failed: int = 0) -> None:
    """Every trial is there once, ran once, and is counted.

    Args:
        failed: at most so many were killed with their script.
    """
    store = JobStore.open(PlatformHome(home).database)
    records = store.list(Kind.TRAINING_JOB, parent="tuning").records
    store.close()
    numbers = Counter(record.request["_Tuning"]["Number"] for record in records)
    assert numbers == dict.fromkeys(range(jobs), 1)
    statuses = Counter(record.status for record in records)
    assert statuses["Completed"] + statuses["Failed"] == jobs and statuses["Failed"] <= failed
    assert ended["status"] == "Completed", ended
    assert ended["counters"]["Completed"] == statuses["Completed"]
    assert ended["counters"]["NonRetryableError"] == statuses["Failed"]
    assert ended["objective_counters"]["Pending"] == 0
    ran = Counter((home / "runs").read_text().split())
    completed = [record.name for record in records if record.status == "Completed"]
    assert all(ran[name] == 1 for name in completed) and max(ran.values()) == 1
    assert ended["best"] == min(completed, key=lambda name: int(name[-8:], 16))


@pytest.mark.parametrize("die_at", ["control:5", "supervisor:5"])
def test_whoever_is_killed_it_completes(tmp_path: Path, die_at: str) -> None:
    check(tmp_path, run_with_deaths(tmp_path, die_at))
    assert (tmp_path / "writes.died").exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("who", ["control", "supervisor"])
def test_every_write_may_be_the_last(tmp_path: Path, who: str) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    check(whole, results(start_control(whole)))
    numbers = re.findall(rf"^{who} (\d+) ", (whole / "writes").read_text(), re.MULTILINE)
    count = max(map(int, numbers))
    assert count > 5
    for number in range(1, count + 1):
        home = tmp_path / f"{who}-{number}"
        home.mkdir()
        check(home, run_with_deaths(home, f"{who}:{number}"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(20))
def test_kills_at_random_moments(tmp_path: Path, seed: int) -> None:
    """Five deaths each, so a hundred in all."""
    chance, jobs = random.Random(seed), 8
    home = PlatformHome(tmp_path)
    control, scripts = start_control(tmp_path, jobs=jobs), 0
    for victim in chance.choices(["control", "supervisor", "script"], [4, 4, 1], k=5):
        time.sleep(chance.uniform(0.0, 1.5))
        if victim == "control":
            control.kill()
            control.communicate()
            control = start_control(tmp_path, jobs=jobs)
            continue
        scripts += victim == "script"
        _kill_one(home, victim, chance)
    check(tmp_path, results(control), jobs=jobs, failed=scripts)


def _kill_one(home: PlatformHome, victim: str, chance: random.Random) -> None:
    """A supervisor, or a script: the child of a stub; nobody when none is alive."""
    names = [path.name for path in home.training_job("x").path.parent.glob("tuning-*")]
    chance.shuffle(names)
    for name in names:
        folder = home.training_job(name)
        process = read_identity(
            folder.supervisor if victim == "supervisor" else folder.host("algo-1").process
        )
        if process is None or not is_alive(process):
            continue
        pid, table = process["pid"], process_table()
        children = [n for n, row in table.items() if row["parent"] == pid]
        for target in [pid] if victim == "supervisor" else children:
            os.kill(target, signal.SIGKILL)
        return
