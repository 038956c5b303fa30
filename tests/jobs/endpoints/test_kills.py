"""SIGKILL to workers, supervisors and the control plane: what was in service is, or comes back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from houndsight.jobs.endpoints.invoking import InvocationError
from houndsight.jobs.endpoints.state import EndpointState
from houndsight.jobs.local.processes import is_alive, send
from houndsight.jobs.states import Kind, StateError
from tests.jobs.endpoints.conftest import Endpoints, wait_for

PID = """
import os
def model_fn(d): return 1
def transform_fn(m, body, t, a):
    if body == "exit":
        os._exit(3)
    return str(os.getpid())
"""
FILES: dict[str, bytes | str] = {"code/inference.py": PID}


def pid_of(endpoints: Endpoints, name: str = "ep") -> int:
    return int(endpoints.invoke(name, "who").body)


def test_a_control_plane_finds_its_endpoints(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(FILES))
    before, supervisor = pid_of(endpoints), endpoints.supervisor("ep")
    endpoints.restart()
    assert pid_of(endpoints) == before
    assert endpoints.service.describe("ep").status == "InService"
    assert endpoints.supervisor("ep") == supervisor


def test_a_supervisor_is_replaced_and_its_workers_stay(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(FILES))
    before, supervisor = pid_of(endpoints), endpoints.supervisor("ep")
    send(supervisor, signal.SIGKILL)
    assert pid_of(endpoints) == before
    wait_for(lambda: endpoints.supervisor("ep") != supervisor, "another supervisor")
    assert pid_of(endpoints) == before
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: _answers(endpoints) not in (None, before), "another worker")


def test_all_are_killed_at_once(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(FILES))
    before, worker = pid_of(endpoints), endpoints.worker("ep")
    endpoints.service.close()
    send(endpoints.supervisor("ep"), signal.SIGKILL)
    send(worker, signal.SIGKILL)
    wait_for(lambda: not is_alive(worker), "the worker's end")
    endpoints.restart()
    wait_for(lambda: _answers(endpoints) not in (None, before), "another worker")
    assert endpoints.service.describe("ep").status == "InService"


def test_killed_while_it_is_created(endpoints: Endpoints) -> None:
    for number in range(3):
        name = f"ep{number}"
        endpoints.create(name, endpoints.model(FILES))
        if number:
            send(endpoints.supervisor(name), signal.SIGKILL)
        endpoints.restart()
        assert endpoints.settled(name).status == "InService"
        pid_of(endpoints, name)


def test_killed_before_anything_was_written(endpoints: Endpoints) -> None:
    """A control plane dies between the record and `wanted.json`."""
    begun = endpoints.service._begin
    endpoints.service._begin = lambda spec: None  # type: ignore[method-assign]
    endpoints.create("ep", endpoints.model(FILES))
    assert begun and not endpoints.folder("ep").wanted.exists()
    endpoints.restart()
    assert endpoints.settled("ep").status == "InService"


def test_killed_while_it_is_deleted(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(FILES))
    worker = endpoints.worker("ep")
    endpoints.service.delete("ep")
    endpoints.service.close()
    send(endpoints.supervisor("ep"), signal.SIGKILL)
    endpoints.restart()
    wait_for(lambda: endpoints.gone("ep"), "the end")
    assert not is_alive(worker)


def test_a_folder_without_a_record_is_ended(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(FILES))
    worker = endpoints.worker("ep")
    endpoints.service.close()
    endpoints.store.delete(Kind.ENDPOINT, "ep")
    endpoints.restart()
    wait_for(lambda: not is_alive(worker), "the worker's end")
    wait_for(lambda: not endpoints.folder("ep").status.exists(), "the end")


def test_a_crash_harms_one_request(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(FILES))
    before = pid_of(endpoints)
    with pytest.raises(InvocationError, match="the model process exited") as crashed:
        endpoints.invoke("ep", "exit")
    assert (crashed.value.code, crashed.value.status) == ("ModelError", 424)
    # The next one waits for the worker that is started again.
    assert pid_of(endpoints) != before
    endpoints.logged("ep", "ended with exit code 3. It is started again")
    assert endpoints.service.describe("ep").status == "InService"


def test_a_worker_that_does_not_come_back_is_told(endpoints: Endpoints) -> None:
    text = (
        "import os\nif os.path.exists('/proc/self/cwd/broken'): raise OSError('no such luck')\n"
        + PID
    )
    endpoints.in_service("ep", endpoints.model({"code/inference.py": text}))
    model = next(endpoints.folder("ep").generations.glob("*/A")) / "ml" / "model"
    (model / "broken").touch()
    os.kill(pid_of(endpoints), signal.SIGKILL)
    record = wait_for(
        lambda: r if (r := endpoints.service.describe("ep")).status == "OutOfService" else None,
        "being out of service",
    )
    assert "OSError: no such luck" in record.detail["failure_reason"]
    with pytest.raises(InvocationError, match="no such luck") as refused:
        endpoints.invoke("ep")
    assert (refused.value.code, refused.value.status) == ("ServiceUnavailable", 503)
    (model / "broken").unlink()
    wait_for(lambda: endpoints.service.describe("ep").status == "InService", "its return")
    assert "failure_reason" not in endpoints.service.describe("ep").detail
    assert pid_of(endpoints)


def _answers(endpoints: Endpoints) -> int | None:
    try:
        return pid_of(endpoints)
    except InvocationError:
        return None


@pytest.mark.slow
def test_killed_at_any_moment(endpoints: Endpoints) -> None:
    """Whoever is killed when, and in the middle of updates: it answers again, and says so."""
    moments = random.Random(7)
    endpoints.in_service("ep", endpoints.model(FILES))
    for number in range(16):
        if number % 4 == 2:
            with contextlib.suppress(StateError):
                endpoints.update("ep", endpoints.model(FILES), config=f"ep-{number}")
        time.sleep(moments.random() * 0.6)
        victims = moments.sample(("worker", "supervisor", "control plane"), moments.randint(1, 3))
        if "supervisor" in victims:
            send(endpoints.supervisor("ep"), signal.SIGKILL)
        if "worker" in victims:
            with contextlib.suppress(ValueError, AssertionError, OSError):
                send(endpoints.worker("ep"), signal.SIGKILL)
        if "control plane" in victims:
            endpoints.restart()
        wait_for(lambda: _answers(endpoints), f"an answer after {victims}")
    assert endpoints.settled("ep").status == "InService"
    wait_for(lambda: len(list(endpoints.folder("ep").generations.iterdir())) == 1, "one generation")
    endpoints.service.delete("ep")
    wait_for(lambda: endpoints.gone("ep"), "the end")
    mark = f"HOUNDSIGHT_JOB_WORKER={endpoints.folder('ep').path}".encode()
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in _environment(pid)]  # noqa: PTH208


def _environment(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_supervisors_hold_little(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(FILES))
    identity = endpoints.supervisor("ep")
    maps = f"/proc/{identity['pid']}/maps"
    with open(maps) as file:  # noqa: PTH123
        held = file.read()
    assert "torch" not in held and "sqlalchemy" not in held
    state = EndpointState.read(endpoints.folder("ep").status)
    assert state is not None
    wait_for(lambda: _memory(endpoints) > 1_000_000, "a measurement", 60)


def _memory(endpoints: Endpoints) -> int:
    state = EndpointState.read(endpoints.folder("ep").status)
    return state.memory_bytes if state else 0
