"""What is planned for how much time, with speeds that are given instead of measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from houndsight.events import Emitter, Event, Forecast
from houndsight.pipeline import RunConfig
from houndsight.runs import Run
from houndsight.stages import plan as planning
from houndsight.stages.context import Context
from houndsight.stages.measure import NetworkSpeed, SearchSpeed, measure_search
from houndsight.stages.plan import FEWEST_TRIALS, HELD_OUT, K_FOLD, Plan
from houndsight.stages.settings import RunSettings
from houndsight.training.recipe import Recipe
from houndsight.tuning.settings import TuningSettings
from houndsight.wording import duration

QUICK = SearchSpeed(rows=1_000, prepare=0.5, trial=0.05, fit=0.2)
SLOW = SearchSpeed(rows=1_000, prepare=1.0, trial=1.0, fit=1.0)


class Photos:
    """As many as there should be, four fifths of them for training."""

    splits_given = False
    classes = ("cats", "dogs")

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def split(self, name: str) -> range:
        return range({"train": 8, "valid": 1, "test": 1}[name] * self.count // 10)

    def all(self) -> range:
        return range(self.count)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Plan, str]]:
    """The plan and the forecast's text."""

    def plan_for(
        count: int,
        minutes: float,
        solving: SearchSpeed = QUICK,
        missing: int = 0,
        *,
        trials: int = 20,
        **run: Any,
    ) -> tuple[Plan, str]:
        monkeypatch.setattr(planning, "measure_throughput", lambda *_a, **_k: 50.0)
        monkeypatch.setattr(planning, "measure_search", lambda *_a: solving)
        monkeypatch.setattr(planning, "measure_network", lambda *_a: NetworkSpeed(20.0, 10.0))
        config = RunConfig(
            source="photos",
            run=RunSettings(minutes=minutes, **run),
            tuning=TuningSettings(trials=trials),
            training=Recipe(epochs=10),
        )
        folder = tmp_path / f"run-{time.monotonic_ns()}"
        record = Run.create(folder, kind="run", config=config.to_json())
        heard: list[Event] = []
        context = Context(run=record, config=config, emit=Emitter([heard.append]))
        context.cache = SimpleNamespace(missing=lambda *_: missing)  # type: ignore[assignment]
        backbone: Any = SimpleNamespace(name="resnet18", feature_dim=512)
        photos: Any = Photos(count)
        plan = planning.fix(context, photos, backbone)
        assert planning.fix(context, photos, backbone) == plan
        return plan, next(e.text for e in heard if isinstance(e, Forecast))

    return plan_for


def test_an_hour_is_enough_for_everything(planned: Callable[..., tuple[Plan, str]]) -> None:
    plan, text = planned(2_000, 60.0)
    assert (plan.protocol, plan.trials, plan.epochs) == (HELD_OUT, 20, 10)
    assert "10 epochs of fine-tuning" in text


def test_epochs_fill_the_time_that_features_and_search_leave(
    planned: Callable[..., tuple[Plan, str]],
) -> None:
    plain, _ = planned(2_000, 10.0)
    busy, _ = planned(2_000, 10.0, missing=10_000)
    assert 1 < busy.epochs < plain.epochs < 10
    none, text = planned(2_000, 2.0)
    assert none.epochs == 0 and "more (--minutes)" in none.why in text


def test_with_little_time_repeats_are_given_up_first_and_then_trials(
    planned: Callable[..., tuple[Plan, str]],
) -> None:
    whole, _ = planned(900, 60.0, SLOW)
    less, _ = planned(900, 8.0, SLOW)
    least, text = planned(900, 2.0, SLOW)
    assert whole.protocol == less.protocol == least.protocol == K_FOLD
    assert (whole.repeats, whole.trials) == (3, 20)
    assert less.repeats < 3 and less.trials == 20
    assert least.repeats == 1 and FEWEST_TRIALS <= least.trials < 20
    assert f"search of {least.trials} trials, 20 do not fit" in text


def test_fine_tuning_that_is_asked_for_gets_an_epoch_however_little_time_there_is(
    planned: Callable[..., tuple[Plan, str]],
) -> None:
    assert planned(2_000, 0.5, finetune="always")[0].epochs == 1
    assert planned(2_000, 60.0, finetune="never")[0].epochs == 0


def test_the_forecast_is_of_what_was_measured(planned: Callable[..., tuple[Plan, str]]) -> None:
    _, quick = planned(900, 60.0, QUICK)
    _, slow = planned(900, 60.0, SLOW)
    assert f"search {duration(QUICK.k_fold(900, 20, 3))}" in quick
    assert f"search {duration(SLOW.k_fold(900, 20, 3))}" in slow


def test_fewer_trials_than_asked_for_stay_as_they_are(
    planned: Callable[..., tuple[Plan, str]],
) -> None:
    assert planned(900, 0.1, SLOW, trials=3)[0].trials == 3
    assert planned(900, 0.1, SLOW)[0].trials == FEWEST_TRIALS


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_a_search_is_measured_on_few_photos(solver: str) -> None:
    speed = measure_search(3_000, 256, 4, solver)
    assert speed.rows < 3_000 and min(speed.prepare, speed.trial, speed.fit) > 0
    assert speed.held_out(3_000, 20) > speed.held_out(3_000, 5) > speed.held_out(1_000, 5)
    assert speed.k_fold(900, 20, 3) > 2.5 * speed.k_fold(900, 20, 1)
