"""Other configurations, weights and counts, without a request that is dropped."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from houndsight.jobs.endpoints.invoking import InvocationError
from houndsight.jobs.local.processes import is_alive
from houndsight.jobs.states import JobsError, StateError
from tests.jobs.endpoints.conftest import Endpoints, wait_for


def says(text: str, load: str = "") -> dict[str, bytes | str]:
    script = (
        f"import os, time\n{load}\n"
        "def model_fn(d): return 1\n"
        "def transform_fn(m, b, t, a):\n"
        "    time.sleep(float(b or 0))\n"
        f"    return f'{text} {{os.getpid()}}'\n"
    )
    return {"code/inference.py": script}


class Load:
    """Clients that never pause."""

    def __init__(self, endpoints: Endpoints, name: str, count: int) -> None:
        self._endpoints, self._name = endpoints, name
        self._ended = threading.Event()
        self.answers: list[str] = []
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                body = self._endpoints.invoke(self._name, "0.002").body.decode()
                self.answers.append(body.split()[0])
            except Exception as error:
                self.errors.append(error)


def test_an_update_under_load_drops_nothing(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(says("old")))
    old = endpoints.worker("ep")
    with Load(endpoints, "ep", 6) as load:
        wait_for(lambda: len(load.answers) > 20, "load")
        record = endpoints.update("ep", endpoints.model(says("new")))
        assert record.status == "Updating"
        assert record.request["EndpointConfigName"] == "ep-2"
        with pytest.raises(StateError, match="ep is Updating"):
            endpoints.update("ep", endpoints.model(says("newer")))
        wait_for(lambda: load.answers[-1] == "new", "the switch")
        record = endpoints.settled("ep")
        wait_for(lambda: not is_alive(old), "the old worker's end")
        count = len(load.answers)
        wait_for(lambda: len(load.answers) > count + 20, "more load")
    assert load.errors == []
    assert set(load.answers[count:]) == {"new"}
    assert (record.status, record.detail["config"]) == ("InService", "ep-2")
    generations = endpoints.folder("ep").generations
    wait_for(lambda: [path.name for path in generations.iterdir()] == ["2"], "the removal")


def test_what_was_begun_is_answered(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(says("old")))
    answers: list[str] = []
    slow = threading.Thread(
        target=lambda: answers.append(endpoints.invoke("ep", "4").body.decode())
    )
    slow.start()
    endpoints.update("ep", endpoints.model(says("new")))
    endpoints.settled("ep")
    assert endpoints.invoke("ep", "0").body.startswith(b"new")
    slow.join()
    assert answers[0].startswith("old")


def test_an_update_that_fails_is_undone(endpoints: Endpoints) -> None:
    endpoints.in_service("ep", endpoints.model(says("old")))
    with Load(endpoints, "ep", 2) as load:
        broken = endpoints.model(says("new", load="raise RuntimeError('weights of another net')"))
        endpoints.update("ep", broken)
        record = endpoints.settled("ep")
    assert load.errors == [] and set(load.answers) == {"old"}
    assert (record.status, record.detail["config"]) == ("InService", "ep-1")
    assert "weights of another net" in record.detail["failure_reason"]
    assert endpoints.invoke("ep", "0").body.startswith(b"old")
    endpoints.restart()
    endpoints.update("ep", endpoints.model(says("newest")), config="ep-3")
    record = endpoints.settled("ep")
    assert record.detail["config"] == "ep-3" and "failure_reason" not in record.detail
    assert endpoints.invoke("ep", "0").body.startswith(b"newest")


def test_a_failed_endpoint_can_be_updated(endpoints: Endpoints) -> None:
    endpoints.create("ep", endpoints.model(says("x", load="1 / 0")))
    assert endpoints.settled("ep").status == "Failed"
    endpoints.update("ep", endpoints.model(says("y")))
    assert endpoints.settled("ep").status == "InService"
    assert endpoints.invoke("ep", "0").body.startswith(b"y")


def test_variants_by_weight(endpoints: Endpoints) -> None:
    models = (endpoints.model(says("one")), endpoints.model(says("two")))
    endpoints.in_service("ep", *models, weights=(3.0, 1.0))
    told = Counter(endpoints.invoke("ep", "0").variant for _ in range(120))
    assert told["A"] > told["B"] > 5
    reply = endpoints.invoke("ep", "0", target_variant="B")
    assert reply.variant == "B" and reply.body.startswith(b"two")
    with pytest.raises(InvocationError, match="no variant 'C'; there are A, B"):
        endpoints.invoke("ep", "0", target_variant="C")

    with pytest.raises(JobsError, match="no variant 'Z'"):
        endpoints.service.reweigh("ep", [{"VariantName": "Z", "DesiredWeight": 1.0}])
    record = endpoints.service.reweigh("ep", [{"VariantName": "A", "DesiredWeight": 0.0}])
    assert record.status == "Updating"
    record = endpoints.settled("ep")
    assert [v["CurrentWeight"] for v in record.detail["variants"]] == [0.0, 1.0]
    assert {endpoints.invoke("ep", "0").variant for _ in range(20)} == {"B"}
    assert endpoints.invoke("ep", "0", target_variant="A").body.startswith(b"one")
    endpoints.service.reweigh("ep", [{"VariantName": "B", "DesiredWeight": 0.0}])
    endpoints.settled("ep")
    with pytest.raises(InvocationError, match="No variant has a weight above 0"):
        endpoints.invoke("ep", "0")


def test_more_instances_and_fewer(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUNDSIGHT_JOBS_CORES", "3")
    endpoints.in_service("ep", endpoints.model(says("x")), count=2)
    with Load(endpoints, "ep", 6) as load:
        assert len(_pids(endpoints)) == 2
        endpoints.service.reweigh("ep", [{"VariantName": "A", "DesiredInstanceCount": 9}])
        record = endpoints.settled("ep")
        assert len(_pids(endpoints)) == 3, "as many as there are cores"
        [variant] = record.detail["variants"]
        assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (9, 9)
        endpoints.service.reweigh("ep", [{"VariantName": "A", "DesiredInstanceCount": 1}])
        endpoints.settled("ep")
        wait_for(lambda: len(_pids(endpoints)) == 1, "the others' leave")
    assert load.errors == []


def _pids(endpoints: Endpoints) -> set[int]:
    pids: set[int] = set()
    threads = [
        threading.Thread(
            target=lambda: pids.add(int(endpoints.invoke("ep", "0.05").body.split()[1]))
        )
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return pids
