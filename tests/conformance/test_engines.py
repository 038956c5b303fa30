"""What every engine must do. A new one joins by a line in `ENGINES`.

A job's script is given as its hyperparameter `script`; how an engine brings it to the machine it
runs on is its own affair.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs" / "local"))

from small_platform import make_engine, make_spec, wait_until

from houndsight.jobs.engine import Allotment, Engine
from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.spec import TrainingSpec
from houndsight.jobs.status import JobState, JobStatus

ENGINES: dict[str, Callable[[PlatformHome], Engine]] = {"local": make_engine}
ALLOTMENT = Allotment(cores=1)
HELLO = "print('hello'); print('loss=0.5')"
LONG = "import time\nprint('begun', flush=True)\ntime.sleep(300)"


class Place:
    """An engine and a home; `restarted` is another engine that finds the same jobs."""

    def __init__(self, make: Callable[[PlatformHome], Engine], home: PlatformHome) -> None:
        self._make, self.home, self.engine = make, home, make(home)
        self.engines = [self.engine]

    def restarted(self) -> Engine:
        self.engines.append(self._make(self.home))
        return self.engines[-1]

    def start(self, spec: TrainingSpec) -> dict[str, object]:
        handle = self.engine.start(spec, self.home.training_job(spec.name), ALLOTMENT)
        return dict(handle)


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(ENGINES[request.param], PlatformHome(tmp_path))
    yield place
    for engine in place.engines:
        engine.close()


def until_ended(engine: Engine, handle: dict[str, object]) -> JobStatus:
    def ended() -> JobStatus | None:
        status = engine.status(handle)
        return status if status.state.ended else None

    return wait_until(ended, "the end")


def has_begun(engine: Engine, handle: dict[str, object]) -> bool:
    return any(line.message == "begun" for line in engine.logs(handle, "algo-1").lines)


def test_a_script_runs_to_its_end(place: Place) -> None:
    begun = time.time()
    handle = place.start(make_spec("job", HELLO))
    status = until_ended(place.engine, handle)
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)
    assert status.metrics["loss"][0] == 0.5
    assert status.training_started is not None
    assert status.training_ended is not None
    assert begun <= status.training_started <= status.training_ended <= time.time()
    states = [transition.status for transition in status.transitions]
    assert states[0] == "Starting"
    assert states[-3:] == ["Training", "Uploading", "Completed"]
    assert all(transition.end is not None for transition in status.transitions)


def test_the_log_is_read_from_any_byte_on(place: Place) -> None:
    handle = place.start(make_spec("job", "for i in range(5): print('line', i)"))
    until_ended(place.engine, handle)
    page = place.engine.logs(handle, "algo-1")
    wanted = [f"line {number}" for number in range(5)]
    assert [line.message for line in page.lines][-5:] == wanted
    second = page.lines[-4]
    rest = place.engine.logs(handle, "algo-1", offset=second.offset, limit=2)
    assert [line.message for line in rest.lines] == wanted[1:3]
    at_the_end = place.engine.logs(handle, "algo-1", offset=page.next_offset)
    assert (list(at_the_end.lines), at_the_end.next_offset) == ([], page.next_offset)
    assert abs(page.lines[-1].time_ms / 1000 - time.time()) < 60


def test_a_failing_script_fails_its_job_with_a_reason(place: Place) -> None:
    status = until_ended(place.engine, place.start(make_spec("job", "import sys; sys.exit(3)")))
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)
    assert status.failure_reason


def test_a_job_can_be_stopped_and_keeps_its_model(place: Place) -> None:
    script = "import os\nopen(os.environ['SM_MODEL_DIR'] + '/model.pth', 'w').close()\n" + LONG
    handle = place.start(make_spec("job", script))
    wait_until(lambda: has_begun(place.engine, handle))
    place.engine.stop(handle)
    status = until_ended(place.engine, handle)
    assert status.state == JobState.STOPPED
    assert place.engine.artifacts(handle)["model"].endswith("/model.tar.gz")


def test_a_script_that_will_not_stop_is_killed(place: Place) -> None:
    script = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LONG
    handle = place.start(make_spec("job", script))
    wait_until(lambda: has_begun(place.engine, handle))
    place.engine.stop(handle)
    status = until_ended(place.engine, handle)
    assert (status.state, status.exit_code) == (JobState.STOPPED, 137)


def test_the_longest_run_time_is_kept(place: Place) -> None:
    status = until_ended(place.engine, place.start(make_spec("job", LONG, max_runtime_s=1)))
    assert status.state == JobState.MAX_RUNTIME_EXCEEDED
    assert status.state.primary == "Stopped"


def test_another_engine_takes_a_running_job_up(place: Place) -> None:
    handle = place.start(make_spec("job", LONG))
    wait_until(lambda: has_begun(place.engine, handle))
    other = place.restarted()
    other.attach(handle)
    assert other.status(handle).state == JobState.TRAINING
    other.stop(handle)
    assert until_ended(other, handle).state == JobState.STOPPED


def test_starting_twice_runs_once(place: Place) -> None:
    spec = make_spec("job", "print('ran')")
    handle = place.start(spec)
    again = place.restarted().start(spec, place.home.training_job("job"), ALLOTMENT)
    assert dict(again) == handle
    until_ended(place.engine, handle)
    messages = [line.message for line in place.engine.logs(handle, "algo-1").lines]
    assert messages.count("ran") == 1


def test_all_hosts_run_and_one_that_fails_ends_the_others(place: Place) -> None:
    script = "import os, sys\nif os.environ['SM_CURRENT_HOST'] == 'algo-2': sys.exit(7)\n" + LONG
    handle = place.start(replace(make_spec("job", script), instance_count=2))
    status = until_ended(place.engine, handle)
    assert (status.state, status.exit_code) == (JobState.FAILED, 7)
    assert "algo-2" in status.failure_reason
    assert has_begun(place.engine, handle)
