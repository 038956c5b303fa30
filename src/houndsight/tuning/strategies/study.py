"""A history as an Optuna study, made anew for each question, so that no state is kept."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from houndsight.tuning import history as records
from houndsight.tuning.history import History, TrialRecord
from houndsight.tuning.parameters import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    Parameter,
    Space,
    Value,
)

__all__ = ["ask", "distributions", "empty_study", "frozen", "study_of"]

_QUIET = threading.Lock()


def ask(study: optuna.Study, space: Space) -> dict[str, Value]:
    """The parameters the study's sampler proposes next."""
    trial = study.ask(fixed_distributions=distributions(space))
    return {name: _from_optuna(space[name], trial.params[name]) for name in space}


def study_of(
    history: History,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """A study in memory that holds the earlier, finished and pending trials of `history`."""
    study = empty_study(history, sampler, pruner)
    for record in (*history.earlier, *history.finished):
        study.add_trial(frozen(history.space, record))
    for parameters in history.pending:
        study.add_trial(_pending(history.space, parameters))
    return study


def empty_study(
    history: History,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """A study in memory without trials; its name carries the seed, which Hyperband hashes."""
    with _quiet():
        return optuna.create_study(
            study_name=f"houndsight-{history.seed}",
            direction=history.direction.value,
            sampler=sampler,
            pruner=pruner or optuna.pruners.NopPruner(),
        )


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's words."""
    return {name: _distribution(parameter) for name, parameter in space.items()}


def frozen(space: Space, record: TrialRecord) -> FrozenTrial:
    """A trial that has ended, in Optuna's words."""
    state = {
        records.TrialState.COMPLETED: TrialState.COMPLETE,
        records.TrialState.STOPPED: TrialState.PRUNED,
        records.TrialState.FAILED: TrialState.FAIL,
    }[record.state]
    return create_trial(
        state=state,
        value=None if state == TrialState.FAIL else record.value,
        params=_to_optuna(space, record.parameters),
        distributions=distributions(space),
        intermediate_values=dict(record.intermediate),
    )


def _pending(space: Space, parameters: Mapping[str, Value]) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        params=_to_optuna(space, parameters),
        distributions=distributions(space),
    )


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, CategoricalParameter):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, IntegerParameter):
        logarithmic = parameter.resolved_scaling == "logarithmic"
        return IntDistribution(parameter.low, parameter.high, log=logarithmic)
    assert isinstance(parameter, ContinuousParameter)
    if parameter.resolved_scaling == "reverse_logarithmic":
        return FloatDistribution(1 - parameter.high, 1 - parameter.low, log=True)
    logarithmic = parameter.resolved_scaling == "logarithmic"
    return FloatDistribution(parameter.low, parameter.high, log=logarithmic)


def _to_optuna(space: Space, parameters: Mapping[str, Value]) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for name, parameter in space.items():
        value: Any = parameters[name]
        if _is_reverse(parameter):
            low, high = 1 - parameter.high, 1 - parameter.low  # type: ignore[attr-defined]
            value = min(max(1 - value, low), high)
        converted[name] = value
    return converted


def _from_optuna(parameter: Parameter, value: Any) -> Value:
    if isinstance(parameter, ContinuousParameter):
        value = 1 - value if _is_reverse(parameter) else value
        value = min(max(float(value), parameter.low), parameter.high)
        assert math.isfinite(value)
    return parameter.check("", value)


def _is_reverse(parameter: Parameter) -> bool:
    return (
        isinstance(parameter, ContinuousParameter)
        and parameter.resolved_scaling == "reverse_logarithmic"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing each study; its level is put back, it may be the person's."""
    with _QUIET:
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(level)
