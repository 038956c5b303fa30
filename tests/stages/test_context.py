"""The clock of a run, which goes on where a killed process left it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from houndsight.events import Emitter, StageEnded, StageProgress
from houndsight.pipeline import RunConfig
from houndsight.runs import Run
from houndsight.stages.context import Context
from houndsight.stages.settings import RunSettings


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def begin(tmp_path: Path, clock: Clock) -> Callable[[], Context]:
    """Each call is a new process that works on the same run of two minutes."""
    config = RunConfig(source="photos", run=RunSettings(minutes=2.0))
    Run.create(tmp_path / "run", kind="run", config=config.to_json())

    def start() -> Context:
        clock.now += 10_000
        run = Run.open(tmp_path / "run")
        return Context(run=run, config=config, emit=Emitter(), started=clock())

    return start


def test_a_resumed_run_has_what_is_left_of_its_budget(
    begin: Callable[[], Context], clock: Clock
) -> None:
    first = begin()
    with first.stage("check", "Checking"):
        clock.now += 30
    with pytest.raises(KeyboardInterrupt), first.stage("features", "Computing"):
        clock.now += 20
        raise KeyboardInterrupt
    assert begin().seconds_left == pytest.approx(120 - 50)


def test_a_killed_stage_loses_no_more_than_a_beat(
    begin: Callable[[], Context], clock: Clock
) -> None:
    killed = begin()
    stage = killed.stage("features", "Computing")
    stage.__enter__()
    for done in range(8):
        clock.now += 3
        killed.emit(StageProgress(stage="features", done=done, total=100))

    resumed = begin()
    assert 120 - 24 <= resumed.seconds_left < 120 - 24 + 6
    ended: list[StageEnded] = []
    resumed.emit.add(lambda event: ended.append(event) if isinstance(event, StageEnded) else None)
    with resumed.stage("features", "Computing"):
        clock.now += 10
    seconds = resumed.run.stages["features"]["seconds"]
    assert 34 - 6 < seconds <= 34
    assert resumed.run.unfinished == {}
    assert resumed.run.seconds == pytest.approx(seconds)
    assert [event.seconds for event in ended] == [10.0]


def test_a_stage_that_is_gone_through_again_adds_to_its_time(
    begin: Callable[[], Context], clock: Clock
) -> None:
    for _ in range(2):
        with begin().stage("features", "Computing"):
            clock.now += 7
    assert begin().run.stages["features"]["seconds"] == 14


def test_time_outside_the_stages_counts_too(begin: Callable[[], Context], clock: Clock) -> None:
    context = begin()
    clock.now += 15
    context.note_time()
    assert begin().seconds_left == 105


def test_runs_of_before_have_the_time_of_their_stages(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "old", kind="run", config={})
    del run._record["seconds"], run._record["unfinished"]
    run.finish_stage("check", seconds=12.0)
    assert Run.open(run.folder).seconds == 12.0
