"""What every tuning strategy promises. A new one joins by a line in `STRATEGIES`."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterable
from dataclasses import replace

import pytest

from houndsight.tuning import (
    STRATEGIES as REGISTERED,
)
from houndsight.tuning import (
    Bayesian,
    CategoricalParameter,
    ContinuousParameter,
    Direction,
    Grid,
    History,
    Hyperband,
    IntegerParameter,
    Random,
    Strategy,
    TrialRecord,
    TrialState,
)
from houndsight.tuning.parameters import Space, Value, check_parameters
from houndsight.tuning.strategies import RunningTrial

STRATEGIES: list[Strategy] = [
    Bayesian(startup=3),
    Random(),
    Grid(points=4),
    Hyperband(max_resource=9, startup=3),
]

SPACE: Space = {
    "learning_rate": ContinuousParameter(0.001, 0.1, "logarithmic"),
    "momentum": ContinuousParameter(0.5, 0.999, "reverse_logarithmic"),
    "dropout": ContinuousParameter(-1.0, 1.0, "linear"),
    "layers": IntegerParameter(1, 6),
    "width": IntegerParameter(8, 1024, "logarithmic"),
    "batch_size": CategoricalParameter([32, 64, 128]),
    "mixed": CategoricalParameter(["a", 2, 0.5, True, None]),
    "fixed": CategoricalParameter(["only"]),
}

pytestmark = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)


def record(number: int, parameters: dict[str, Value], state: TrialState) -> TrialRecord:
    value = None if state == TrialState.FAILED else (number * 37 % 11) / 11
    reports = () if value is None else tuple((step, value + 1 / step) for step in range(1, 10))
    return TrialRecord(
        number=number, parameters=parameters, state=state, value=value, intermediate=reports
    )


def grow(
    strategy: Strategy,
    count: int,
    *,
    space: Space = SPACE,
    direction: Direction = Direction.MINIMIZE,
    states: Iterable[TrialState] = tuple(TrialState),
    seed: int = 7,
) -> History:
    """A history of `count` trials of every state that the strategy itself proposed."""
    cycle = list(states)
    history = History(space=space, direction=direction, seed=seed, number=0)
    for number in range(count):
        parameters = strategy.suggest(history)
        assert parameters is not None
        done = record(number, parameters, cycle[number % len(cycle)])
        history = replace(history, number=number + 1, finished=(*history.finished, done))
    return history


@pytest.mark.parametrize("direction", list(Direction))
def test_every_proposal_lies_in_the_space(strategy: Strategy, direction: Direction) -> None:
    history = grow(strategy, 12, direction=direction)
    for done in history.finished:
        assert check_parameters(SPACE, done.parameters) == done.parameters
        assert list(done.parameters) == list(SPACE)


def test_a_proposal_is_a_pure_function_of_the_history(strategy: Strategy) -> None:
    history = grow(strategy, 8)
    before = copy.deepcopy(history)
    first = strategy.suggest(history)
    for other in (strategy, copy.deepcopy(strategy), pickle.loads(pickle.dumps(strategy))):
        other.suggest(replace(history, seed=99))  # questions in between change nothing
        assert other.suggest(history) == first
    assert history == before


def test_the_seed_and_the_number_matter(strategy: Strategy) -> None:
    history = grow(strategy, 0)
    proposals = [strategy.suggest(replace(history, seed=seed)) for seed in range(4)]
    proposals += [strategy.suggest(replace(history, number=number)) for number in range(1, 4)]
    assert len({repr(p) for p in proposals}) > 3


def test_pending_trials_are_not_proposed_again(strategy: Strategy) -> None:
    history = grow(strategy, 8)
    proposals: list[dict[str, Value]] = []
    for number in range(8, 14):
        parameters = strategy.suggest(replace(history, number=number, pending=tuple(proposals)))
        assert parameters is not None and parameters not in proposals
        proposals.append(parameters)


def test_failed_trials_alone_do_no_harm(strategy: Strategy) -> None:
    assert len(grow(strategy, 5, states=[TrialState.FAILED]).finished) == 5


def test_earlier_searches_are_accepted(strategy: Strategy) -> None:
    earlier = grow(strategy, 6).finished
    assert strategy.suggest(replace(grow(strategy, 2), earlier=earlier)) is not None


def test_a_finite_space_is_left_or_repeated_but_never_breaks(strategy: Strategy) -> None:
    space = {"a": CategoricalParameter([1, 2]), "b": IntegerParameter(0, 1)}
    history = History(space=space, direction=Direction.MAXIMIZE, seed=0, number=0)
    seen = []
    for number in range(8):
        parameters = strategy.suggest(history)
        if parameters is None:
            break
        seen.append(parameters)
        done = record(number, parameters, TrialState.COMPLETED)
        history = replace(history, number=number + 1, finished=(*history.finished, done))
    assert len(seen) >= 4


def test_a_trial_is_judged_by_its_reports_alone(strategy: Strategy) -> None:
    history = grow(strategy, 6)
    parameters = dict(history.finished[0].parameters)
    assert strategy.should_stop(history, RunningTrial(6, parameters)) is False
    judged = RunningTrial(6, parameters, ((1, 50.0), (2, 50.0), (3, 50.0)))
    before = copy.deepcopy(history)
    verdict = strategy.should_stop(history, judged)
    assert isinstance(verdict, bool)
    assert strategy.should_stop(history, judged) is verdict
    assert history == before


def test_it_says_nothing(
    strategy: Strategy, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        grow(strategy, 4)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_it_is_registered(strategy: Strategy) -> None:
    assert type(strategy) in REGISTERED.values()
