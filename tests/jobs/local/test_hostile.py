"""Scripts that fork away, fill the disk or print without end harm only themselves."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_platform import make_service, make_spec, printed, wait_ended, wait_until

from houndsight.jobs.layout import JobFolder
from houndsight.jobs.local.hosts import HostExit
from houndsight.jobs.local.launching import mark_of
from houndsight.jobs.local.outcome import MEMORY_RAN_OUT, outcome_of
from houndsight.jobs.local.processes import end_session
from houndsight.jobs.local.stub import identity, process_table
from houndsight.jobs.service import JobService
from houndsight.jobs.status import JobState

AWAY = """
import os, sys, time
for number in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 3)
        open("away-" + str(os.getpid()), "w").close()
        time.sleep(300)
while len([name for name in os.listdir() if name.startswith("away-")]) < 20:
    time.sleep(0.01)
print("done")
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    service = make_service(tmp_path / "platform", log_megabytes=1)
    service.start()
    yield service
    service.close()


def test_what_forks_away_ends_with_the_script(service: JobService) -> None:
    service.create_training_job(make_spec("job", AWAY), {})
    assert wait_ended(service, "job").state == JobState.COMPLETED
    folder = service.home.training_job("job").host("algo-1").path
    away = {int(path.name.removeprefix("away-")) for path in folder.glob("away-*")}
    assert len(away) == 20
    assert not {pid for pid in away if process_table().get(pid, {}).get("state") not in (None, "Z")}


def test_a_script_that_prints_without_end_is_cut_in_the_middle(service: JobService) -> None:
    line = "x" * 99
    block = f"    print({line + chr(10)!r} * 999 + 'end')"
    script = f"print('loss=1')\nfor number in range(1_200):\n{block}\nprint('loss=2')"
    service.create_training_job(make_spec("loud", script), {})
    status = wait_ended(service, "loud")
    assert status.state == JobState.COMPLETED
    assert status.metrics["loss"][0] == 2.0
    log = service.home.training_job("loud").host("algo-1").log
    assert log.stat().st_size > 119_000_000
    lines = printed(service, "loud")
    assert (lines[0], lines[-1]) == ("loss=1", "loss=2")
    if log.stat().st_blocks * 512 < log.stat().st_size // 2:
        assert sum("of the log were not kept" in line for line in lines) == 1


def test_a_session_is_ended_though_its_stub_was_killed(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    name, _, value = mark_of(folder).partition("=")
    script = "sleep 300 & setsid sleep 300 & echo; wait"
    leader = subprocess.Popen(
        ["/bin/sh", "-c", script],
        env={**os.environ, name: value},
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    assert leader.stdout is not None
    leader.stdout.readline()
    stub = identity(leader.pid)
    leader.kill()
    leader.wait()
    leader.stdout.close()

    def left() -> list[int]:
        table = process_table()
        own = [pid for pid, row in table.items() if row["session"] == leader.pid]
        return [pid for pid in own if table[pid]["state"] != "Z"]

    assert left()
    assert end_session(stub, mark_of(folder)) >= 2
    wait_until(lambda: not left())


def test_a_script_killed_because_memory_ran_out_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stand_ins

    stand_ins_finish = type(os)("houndsight.jobs.container.finish")
    stand_ins_finish.failure_reason = stand_ins.failure_reason  # type: ignore[attr-defined]
    monkeypatch.setitem(
        __import__("sys").modules, "houndsight.jobs.container.finish", stand_ins_finish
    )
    spec, folder = make_spec("job", ""), JobFolder(tmp_path)
    folder.host("algo-1").path.mkdir(parents=True)
    killed = HostExit(code=None, signal=9, oom_kills=1, ended=time.time())
    outcome = outcome_of(spec, folder, {"algo-1": killed})
    assert (outcome.state, outcome.exit_code) == (JobState.FAILED, 137)
    assert MEMORY_RAN_OUT in outcome.reason


class TestOnASmallDisk:
    """Needs the right to mount a small file system."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no right to mount a file system")
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)

    FILL = (
        "import time\nprint('begun', flush=True)\n"
        "with open('large', 'wb', buffering=0) as file:\n"
        "    while True:\n        file.write(bytes(1 << 20))\n        time.sleep(0.1)\n"
    )

    def run(self, disk: Path, reserve: int) -> tuple[JobService, str]:
        service = make_service(disk / "platform", disk_reserve_megabytes=reserve)
        service.start()
        service.create_training_job(make_spec("job", self.FILL), {})
        status = wait_ended(service, "job")
        assert status.state == JobState.FAILED
        return service, status.failure_reason

    def test_a_job_that_fills_the_disk_is_stopped(self, disk: Path) -> None:
        service, reason = self.run(disk, reserve=32)
        assert "The disk is full" in reason
        assert "stopped before it harmed others" in reason
        service.create_training_job(make_spec("other", "print('ran')"), {})
        assert wait_ended(service, "other").state == JobState.COMPLETED
        service.close()

    def test_a_full_disk_is_named_and_the_end_is_written(self, disk: Path) -> None:
        service, reason = self.run(disk, reserve=0)
        assert "The disk is full. Make room" in reason
        service.close()
