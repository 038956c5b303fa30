"""Who is held and who is answered at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from houndsight.aws.sagemaker.holding import Holding
from houndsight.jobs.states import Kind
from houndsight.jobs.store import JobStore, Record


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "jobs.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("pause_s", "polls"), [(0.2, False), (3.0, False), (5.0, True), (30.0, True), (600.0, False)]
)
def test_a_poller_is_who_asks_again_after_seconds(pause_s: float, polls: bool) -> None:
    clock = Clock()
    holding = Holding(clock)
    assert holding.note("key", "arn") is None
    clock.now += pause_s
    assert (holding.note("key", "arn") is not None) is polls


def test_clients_and_jobs_are_told_apart() -> None:
    clock = Clock()
    holding = Holding(clock)
    holding.note("key", "arn")
    clock.now += 5
    assert holding.note("other", "arn") is None and holding.note("key", "another") is None
    assert holding.note("key", "arn") == 5.0


def test_it_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("houndsight.aws.sagemaker.holding.REMEMBERED", 2)
    clock = Clock()
    holding = Holding(clock)
    for arn in ("a", "b", "c"):
        holding.note("key", arn)
    clock.now += 5
    assert holding.note("key", "a") is None and holding.note("key", "c") == 5.0


def test_a_held_answer_comes_with_the_change(store: JobStore) -> None:
    record = store.add(Record(kind=Kind.TRAINING_JOB, name="job", arn="arn", status="InProgress"))
    answers: list[Record] = []

    def hold() -> None:
        answers.append(
            Holding().until(
                store, record, lambda r: r.status == "Completed", client="key", seconds=60
            )
        )

    waiting = threading.Thread(target=hold)
    waiting.start()
    store.update(Kind.TRAINING_JOB, "job", detail={"state": "Training"})
    store.update(Kind.TRAINING_JOB, "job", status="Completed")
    waiting.join(timeout=30)
    assert [answer.status for answer in answers] == ["Completed"]


def test_a_held_answer_comes_when_the_time_is_over(store: JobStore) -> None:
    record = store.add(Record(kind=Kind.TRAINING_JOB, name="job", arn="arn", status="InProgress"))
    clock = Clock()
    holding = Holding(clock)
    answer = holding.until(store, record, lambda _: False, client="key", seconds=0.0)
    assert answer.status == "InProgress"
    clock.now += 5  # the sleep of the client begins with the answer
    assert holding.note("key", "arn") == 5.0
