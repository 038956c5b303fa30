"""The queue, the store and the engine together, as the API uses them."""

from __future__ import annotations

import signal
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from small_platform import make_service, make_spec, printed, wait_ended, wait_until

from houndsight.errors import HoundsightError
from houndsight.jobs import service as service_module
from houndsight.jobs.engine import Allotment, Handle
from houndsight.jobs.layout import JobFolder, PlatformHome
from houndsight.jobs.local import keeping, processes
from houndsight.jobs.local.processes import read_identity, send
from houndsight.jobs.local.statusfile import StatusFile
from houndsight.jobs.local.stub import process_table
from houndsight.jobs.service import JobService
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.states import ExistsError, Kind, NotFoundError, StateError
from houndsight.jobs.status import JobState, JobStatus

LONG = "import time\nprint('begun', flush=True)\ntime.sleep(300)"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    service = make_service(tmp_path)
    service.start()
    yield service
    end(service)


def end(service: JobService) -> None:
    for record in service.store.list(Kind.TRAINING_JOB, status="InProgress").records:
        service.stop_training_job(record.name)
        wait_ended(service, record.name)
    service.close()


def has_begun(service: JobService, name: str) -> bool:
    return "begun" in printed(service, name)


def test_a_job_is_told_to_those_who_listen_and_kept_in_the_store(service: JobService) -> None:
    heard: list[tuple[str, str]] = []
    service.add_listener(lambda record: heard.append((record.status, record.detail["state"])))
    service.add_listener(lambda _: 1 / 0)
    spec = make_spec("job", "print('loss=0.5')", tuning_job="tuner")
    record = service.create_training_job(spec, {"TrainingJobName": "job"})
    assert (record.status, record.parent, record.request) == (
        "InProgress",
        "tuner",
        {"TrainingJobName": "job"},
    )
    status = wait_ended(service, "job")
    wait_until(lambda: heard[-1] == ("Completed", "Completed"))
    assert heard[0] == ("InProgress", "Pending")
    assert status.metrics["loss"][0] == 0.5
    assert [row["value"] for row in service.metrics("job")] == [0.5]
    assert [t.status for t in status.transitions][:2] == ["Starting", "Downloading"]


def test_names_are_taken_once_and_never_leave_their_folder(service: JobService) -> None:
    service.create_training_job(make_spec("job", ""), {})
    with pytest.raises(ExistsError):
        service.create_training_job(make_spec("job", ""), {})
    for name in ("../job", "a/b", "", ".", "a" * 64, "job\n"):
        with pytest.raises(HoundsightError):
            service.create_training_job(make_spec(name, ""), {})
    with pytest.raises(NotFoundError):
        service.logs("nobody", "algo-1")
    wait_ended(service, "job")
    with pytest.raises(NotFoundError, match="no host"):
        service.logs("job", "../algo-1")


def test_jobs_wait_for_their_turn_and_say_for_what(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "SAY_AFTER_SECONDS", 0.0)
    service.create_training_job(make_spec("first", LONG), {})
    wait_until(lambda: has_begun(service, "first"))
    service.create_training_job(make_spec("second", "print('ran')"), {})
    wait_until(lambda: service.training_status("second").waiting_for)
    status = service.training_status("second")
    assert status.state == JobState.PENDING
    assert "2 cores" in status.waiting_for
    assert "held by first" in status.transitions[-1].message
    assert printed(service, "second") == []
    service.stop_training_job("first")
    assert wait_ended(service, "second").state == JobState.COMPLETED
    assert service.training_status("second").waiting_for == ""


def test_a_waiting_job_is_stopped_at_once(service: JobService) -> None:
    service.create_training_job(make_spec("first", LONG), {})
    service.create_training_job(make_spec("second", "print('ran')"), {})
    wait_until(lambda: has_begun(service, "first"))
    record = service.stop_training_job("second")
    assert (record.status, record.detail["state"]) == ("Stopped", "Stopped")
    assert not service.home.training_job("second").path.exists()
    with pytest.raises(StateError, match="is Stopped"):
        service.stop_training_job("second")


def test_a_stopping_job_never_shows_anything_else(service: JobService) -> None:
    seen: list[str] = []
    service.create_training_job(make_spec("job", LONG), {})
    wait_until(lambda: has_begun(service, "job"))
    service.add_listener(lambda record: seen.append(record.status))
    assert service.stop_training_job("job").status == "Stopping"
    with pytest.raises(StateError, match="is Stopping"):
        service.stop_training_job("job")
    assert wait_ended(service, "job").state == JobState.STOPPED
    wait_until(lambda: seen[-1] == "Stopped")
    assert set(seen[:-1]) == {"Stopping"}


def test_a_job_is_stopped_while_it_downloads(service: JobService) -> None:
    spec = make_spec("job", "print('ran')", hyperparameters={"slow_download": "yes"})
    service.create_training_job(spec, {})
    wait_until(lambda: service.training_status("job").state == JobState.DOWNLOADING)
    service.stop_training_job("job")
    assert wait_ended(service, "job").state == JobState.STOPPED
    assert "ran" not in printed(service, "job")


def test_a_restarted_platform_finds_its_jobs(tmp_path: Path) -> None:
    before = make_service(tmp_path)
    before.start()
    before.create_training_job(make_spec("running", LONG), {})
    wait_until(lambda: has_begun(before, "running"))
    before.create_training_job(make_spec("waiting", "print('ran')"), {})
    before.close()
    before.store.close()
    after = make_service(tmp_path)
    after.start()
    assert after.training_status("running").state == JobState.TRAINING
    assert after.training_status("waiting").state == JobState.PENDING
    after.stop_training_job("running")
    assert wait_ended(after, "running").state == JobState.STOPPED
    assert wait_ended(after, "waiting").state == JobState.COMPLETED
    end(after)


def test_nobody_else_reads_a_jobs_environment(service: JobService) -> None:
    spec = make_spec("job", "print('ran')", environment={"WANDB_API_KEY": "secret"})
    service.create_training_job(spec, {})
    wait_ended(service, "job")
    folders = service.home.training_job("job").path.parent
    assert stat.S_IMODE(folders.stat().st_mode) == 0o700


def test_a_spare_supervisor_that_dies_at_once_is_not_replaced_at_every_look(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Dead:
        stdin = None

        def __init__(self, command: Any, **_: Any) -> None:
            started.append(command)

        def poll(self) -> int:
            return 1

    monkeypatch.setattr(keeping, "Detached", Dead)
    keeper = keeping.Keeper(
        service.home,
        interpreter=("python",),
        environment={},
        spare_s=60,
        status=lambda _: JobStatus(),
    )
    for _ in range(5):
        keeper.have_a_spare()
    assert len(started) == 1


def test_a_folder_of_a_lost_store_is_not_taken_for_the_jobs(service: JobService) -> None:
    old = service.home.training_job("job")
    old.path.mkdir(parents=True)
    old.status.write_text("nonsense")
    service.create_training_job(make_spec("job", "print('ran')"), {})
    assert wait_ended(service, "job").state == JobState.COMPLETED
    kept = [path.name for path in old.path.parent.iterdir() if path.name != "job"]
    assert len(kept) == 1


def test_a_job_that_cannot_be_started_fails_with_the_reason(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(service.engine, "start", fail)
    service.create_training_job(make_spec("job", ""), {})
    status = wait_ended(service, "job")
    assert "No space left on device" in status.failure_reason


def test_a_job_that_nobody_can_read_fails_and_the_others_go_on(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = TrainingSpec.from_json

    def from_json(row: dict[str, Any]) -> TrainingSpec:
        if row["name"] == "odd":
            raise KeyError("hosts")
        return read(row)

    monkeypatch.setattr(TrainingSpec, "from_json", from_json)
    for name in ("odd", "even"):
        service.create_training_job(make_spec(name, "", parallel_jobs=2), {})
    assert "could not be started: KeyError('hosts')" in wait_ended(service, "odd").failure_reason
    assert wait_ended(service, "even").state == JobState.COMPLETED
    # What an earlier control plane left is no different.
    before = make_service(service.home.root)
    before.create_training_job(make_spec("odd2", ""), {})
    before.create_training_job(make_spec("even2", ""), {})
    before.close()
    monkeypatch.setattr(TrainingSpec, "from_json", lambda row: from_json({**row, "name": "odd"}))
    after = make_service(service.home.root)
    after.start()
    assert "KeyError('hosts')" in wait_ended(after, "odd2").failure_reason
    assert "KeyError('hosts')" in wait_ended(after, "even2").failure_reason
    after.close()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_store_that_fails_for_a_moment_loses_no_job(
    service: JobService, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(service_module, "AGAIN_SECONDS", 0.05)
    update, calls = service.store.update, iter(range(1, 1000))

    def sometimes(*args: Any, **named: Any) -> Any:
        if next(calls) == at:
            raise RuntimeError("database is locked")
        return update(*args, **named)

    monkeypatch.setattr(service.store, "update", sometimes)
    for name in ("one", "two"):
        service.create_training_job(make_spec(name, "print('ran')", parallel_jobs=2), {})
    for name in ("one", "two"):
        assert wait_ended(service, name).state == JobState.COMPLETED
        assert printed(service, name).count("ran") == 1


def test_a_job_that_cannot_be_looked_at_keeps_nobody_waiting(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = service.engine.status

    def ask(handle: Handle) -> JobStatus:
        if Path(handle["folder"]).name == "odd":
            raise RuntimeError("odd")
        return status(handle)

    monkeypatch.setattr(service.engine, "status", ask)
    for name in ("odd", "even"):
        service.create_training_job(make_spec(name, "", parallel_jobs=2), {})
    assert wait_ended(service, "even").state == JobState.COMPLETED
    monkeypatch.setattr(service.engine, "status", status)
    assert wait_ended(service, "odd").state == JobState.COMPLETED


def test_an_ended_supervisor_is_waited_for(service: JobService) -> None:
    for number in range(3):
        service.create_training_job(make_spec(f"job-{number}", ""), {})
        wait_ended(service, f"job-{number}")
    started = {
        identity["pid"]
        for number in range(3)
        if (identity := read_identity(service.home.training_job(f"job-{number}").supervisor))
    }
    assert len(started) == 3
    wait_until(lambda: not started & process_table().keys(), "the end of the supervisors")


def test_a_spare_supervisor_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "END_SECONDS", 0.1)
    keeper = keeping.Keeper(
        PlatformHome(tmp_path),
        interpreter=("sh", "-c", "exec sleep 300"),
        environment={},
        spare_s=60,
        status=lambda _: JobStatus(),
    )
    keeper.have_a_spare()
    spare = keeper._spare
    keeper.close()
    assert spare is not None
    assert spare.returncode == -signal.SIGKILL


def test_a_supervisor_that_always_dies_fails_its_job(service: JobService) -> None:
    spec = make_spec("job", "")
    folder = service.home.training_job("job")
    service.engine.start(spec, folder, Allotment(cores=1))
    # Nobody of this engine's making can read that.
    folder.spec.write_text('{"version": 99}')
    service.create_training_job(make_spec("other", ""), {})
    handle = {"folder": str(folder.path)}
    wait_until(lambda: service.engine.status(handle).state.ended)
    reason = service.engine.status(handle).failure_reason
    assert "supervisor ended again and again" in reason
    assert "newer Houndsight" in reason


def test_a_job_whose_folder_was_removed_fails(service: JobService) -> None:
    service.create_training_job(make_spec("job", LONG), {})
    wait_until(lambda: has_begun(service, "job"))
    folder = service.home.training_job("job").path
    folder.rename(folder.with_name("elsewhere"))
    assert "was removed while it ran" in wait_ended(service, "job").failure_reason
    stub = read_identity(folder.with_name("elsewhere") / "hosts" / "algo-1" / "process.json")
    assert stub is not None
    send(stub, signal.SIGKILL)


def test_endpoints_take_memory_and_no_slot(service: JobService) -> None:
    service.reserve_memory("endpoint", 1 << 50)
    service.create_training_job(make_spec("job", ""), {})
    assert wait_ended(service, "job").state == JobState.COMPLETED


def test_a_number_that_has_become_somebody_elses_is_not_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["sleep", "300"]) as bystander:
        row = {**process_table()[bystander.pid], "start": 1, "session": 99_999_999}
        looks = iter([{bystander.pid: row}, {}])
        monkeypatch.setattr(processes, "process_table", lambda: next(looks))
        stub = {"pid": 99_999_999, "start_time": 1, "boot_id": processes.boot_id()}
        processes.end_session(stub, "NO=MARK")
        assert bystander.poll() is None
        bystander.kill()


def test_threads_that_change_the_status_never_meet(tmp_path: Path) -> None:
    status = StatusFile(JobFolder(tmp_path), lambda _: None)
    status.move(JobState.STARTING, "")

    def change(number: int) -> int:
        for _ in range(20):
            status.move(JobState.STARTING, "", exit_code=number)
        return number

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(change, range(4))) == [0, 1, 2, 3]
    assert JobStatus.read(tmp_path / "status.json") == status.now
