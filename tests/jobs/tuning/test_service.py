"""The thread that moves tuning jobs on, and what a new control plane finds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from houndsight.jobs.request import BadRequestError
from houndsight.jobs.states import ExistsError, Kind, NotFoundError, StateError
from houndsight.jobs.status import JobState
from houndsight.jobs.tuning.service import TuningService
from houndsight.jobs.tuning.states import Progress

ARN = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/{}"


@pytest.fixture
def service(jobs: Any) -> Iterator[TuningService]:
    made = TuningService(jobs)
    made.start()
    yield made
    made.close()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)


def status(jobs: Any, name: str = "tuning") -> str:
    return str(jobs.store.get(Kind.TUNING_JOB, name).status)


def test_it_moves_tuning_jobs_on_by_itself(
    jobs: Any, service: TuningService, make_request: Any, good_script: Any
) -> None:
    for name in ("one", "two"):
        service.create(name, ARN.format(name), make_request(jobs=3, parallel=1))

    def work() -> bool:
        for name in jobs.running():
            good_script(jobs, name)
        return status(jobs, "one") == status(jobs, "two") == "Completed"

    wait_until(work)
    assert len(jobs.created) == 6


def test_a_new_control_plane_goes_on(jobs: Any, make_request: Any, good_script: Any) -> None:
    first = TuningService(jobs)
    first.start()
    first.create("tuning", ARN.format("tuning"), make_request(jobs=4, parallel=2))
    wait_until(lambda: len(jobs.created) == 2)
    first.close()
    jobs.listeners.clear()
    for name in jobs.running():
        good_script(jobs, name)
    assert len(jobs.created) == 2 and status(jobs) == "InProgress"
    second = TuningService(jobs)
    second.start()

    def work() -> bool:
        for name in jobs.running():
            good_script(jobs, name)
        return status(jobs) == "Completed"

    wait_until(work)
    second.close()
    assert len(jobs.created) == 4


def test_stop(jobs: Any, service: TuningService, make_request: Any) -> None:
    service.create("tuning", ARN.format("tuning"), make_request(jobs=9, parallel=2))
    wait_until(lambda: len(jobs.running()) == 2)
    service.stop("tuning")
    with pytest.raises(StateError):
        service.stop("tuning")

    def work() -> bool:
        for name in jobs.running():
            if jobs.training_status(name).state == JobState.STOPPING:
                jobs.end(name, JobState.STOPPED)
        return status(jobs) == "Stopped"

    wait_until(work)
    assert len(jobs.created) == 2
    progress = Progress.from_json(jobs.store.get(Kind.TUNING_JOB, "tuning").detail)
    assert progress.counters["Stopped"] == 2 and progress.ended is not None


def test_what_is_not_there_or_is_already(
    jobs: Any, service: TuningService, make_request: Any
) -> None:
    service.create("tuning", ARN.format("tuning"), make_request())
    with pytest.raises(ExistsError):
        service.create("tuning", ARN.format("tuning"), make_request())
    with pytest.raises(NotFoundError):
        service.stop("nobody")
    request = make_request()
    parents = [{"HyperParameterTuningJobName": "tuning"}]
    request["WarmStartConfig"] = {
        "ParentHyperParameterTuningJobs": parents,
        "WarmStartType": "TransferLearning",
    }
    with pytest.raises(BadRequestError, match="'tuning' is InProgress"):
        service.create("warm", ARN.format("warm"), request)


def test_a_tuning_job_that_cannot_be_moved_on_fails_and_says_why(
    jobs: Any,
    service: TuningService,
    make_request: Any,
    good_script: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("houndsight.jobs.tuning.service.WATCHING_INTERVAL_S", 0.01)
    create = jobs.create_training_job

    def broken(spec: Any, request: Any) -> Any:
        if spec.name.startswith("broken"):
            raise OSError(28, "No space left on device")
        return create(spec, request)

    monkeypatch.setattr(jobs, "create_training_job", broken)
    service.create("broken", ARN.format("broken"), make_request())
    service.create("whole", ARN.format("whole"), make_request(jobs=2, parallel=1))

    def work() -> bool:
        for name in jobs.running():
            good_script(jobs, name)
        return {status(jobs, "broken"), status(jobs, "whole")} == {"Failed", "Completed"}

    wait_until(work)
    progress = Progress.from_json(jobs.store.get(Kind.TUNING_JOB, "broken").detail)
    assert "No space left on device" in progress.failure_reason


def test_a_tuning_job_that_was_deleted_is_forgotten(
    jobs: Any, service: TuningService, make_request: Any
) -> None:
    service.create("tuning", ARN.format("tuning"), make_request())
    wait_until(lambda: len(jobs.running()) == 2)
    jobs.store.delete(Kind.TUNING_JOB, "tuning")
    for name in jobs.running():
        jobs.end(name)
    wait_until(lambda: not service._drivers)
    assert threading.active_count() < 20
