"""The control plane dies after any of its writes: no trial is run twice, none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from houndsight.jobs.states import Kind
from houndsight.jobs.store import JobStore
from houndsight.jobs.tuning.states import TuningState

WRITES = ("add", "update", "add_tags", "delete")


class KilledError(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class Killer:
    """Kills after the n-th write of the store, or before it is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, *, before: bool) -> None:
        self.count, self.at, self.before, self.armed = 0, at, before, False
        for name in WRITES:
            monkeypatch.setattr(JobStore, name, self._counted(getattr(JobStore, name)))

    def _counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(store: JobStore, *given: Any, **how: Any) -> Any:
            if not self.armed:
                return write(store, *given, **how)
            self.count += 1
            if self.count == self.at and self.before:
                raise KilledError
            result = write(store, *given, **how)
            if self.count == self.at:
                raise KilledError
            return result

        return counted


def _run(tuning: Any, killer: Killer, script: Callable[[Any, str], None]) -> bool:
    """Run to the end, started anew after the kill; whether there was one."""
    killed = False
    for _ in range(200):
        killer.armed = True
        try:
            ended = tuning.driver.step()
        except KilledError:
            killed, ended = True, False
            tuning.again()
        finally:
            killer.armed = False
        if ended:
            return killed
        for name in tuning.jobs.running():
            script(tuning.jobs, name)
    raise AssertionError("it never ended")


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("at", range(1, 24))
def test_killed_at_every_write(
    jobs: Any,
    tune: Callable[..., Any],
    good_script: Any,
    make_request: Any,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    before: bool,
) -> None:
    request = make_request(jobs=4, parallel=2)
    request["Tags"] = [{"Key": "team", "Value": "dogs"}]
    tuning = tune(request=request)
    killer = Killer(monkeypatch, at, before=before)
    killed = _run(tuning, killer, good_script)
    assert killed or killer.count < at
    progress = tuning.progress
    assert progress.state == TuningState.COMPLETED
    children = jobs.store.list(Kind.TRAINING_JOB, parent="tuning").records
    numbers = Counter(r.request["_Tuning"]["Number"] for r in children)
    assert numbers == dict.fromkeys(range(4), 1)
    assert all(jobs.store.tags(record.arn) == {"team": "dogs"} for record in children)
    assert progress.counters["Completed"] == 4
    assert progress.objective_counters == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert progress.best in {record.name for record in children}


def test_there_are_no_more_writes_than_were_killed_at(
    jobs: Any,
    tune: Callable[..., Any],
    good_script: Any,
    make_request: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = make_request(jobs=4, parallel=2)
    request["Tags"] = [{"Key": "team", "Value": "dogs"}]
    killer = Killer(monkeypatch, 0, before=False)
    _run(tune(request=request), killer, good_script)
    assert 8 <= killer.count < 23
