"""The ranges of a tuning job's request as a search space, and values as text again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from houndsight.errors import SettingError
from houndsight.jobs.request import BadRequestError, unquoted
from houndsight.tuning.parameters import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    Parameter,
    Space,
    Value,
)

__all__ = ["parameters_of", "space_of", "text_of"]

AUTO_FACTOR = 10.0
"""An automatic range goes from a tenth of its hint to ten times it."""


def space_of(ranges: Mapping[str, Any], where: str = "ParameterRanges") -> Space:
    """The search space of `ParameterRanges`.

    Raises:
        BadRequestError: a range is empty, no number or has a scaling it cannot have.
    """
    space: dict[str, Parameter] = {}
    makers = {
        "ContinuousParameterRanges": _continuous,
        "IntegerParameterRanges": _integer,
        "CategoricalParameterRanges": _categorical,
        "AutoParameters": _automatic,
    }
    for kind, make in makers.items():
        for row in ranges.get(kind) or ():
            name = str(row["Name"])
            if name in space:
                raise BadRequestError(f"{where}: hyperparameter {name!r} stands there twice.")
            try:
                space[name] = make(row)
            except (SettingError, ValueError, OverflowError) as error:
                raise BadRequestError(f"{where}: hyperparameter {name!r}: {error}") from error
    return space


def text_of(value: Value) -> str:
    """A value as hyperparameters hold it; `parameters_of` reads it back exactly."""
    return repr(value) if isinstance(value, float) else str(value)


def parameters_of(space: Space, hyperparameters: Mapping[str, str]) -> dict[str, Value]:
    """The tuned ones among a training job's hyperparameters, as values of `space`.

    Raises:
        SettingError, ValueError: one is missing or of another space.
    """
    values: dict[str, Value] = {}
    for name, parameter in space.items():
        if name not in hyperparameters:
            raise SettingError(f"There is no hyperparameter {name}.")
        text = hyperparameters[name]
        if isinstance(parameter, CategoricalParameter):
            values[name] = parameter.check(name, text)
        else:
            values[name] = parameter.check(name, _number(text))
    return values


def _continuous(row: Mapping[str, Any]) -> Parameter:
    low, high = _number(row["MinValue"]), _number(row["MaxValue"])
    if low == high:
        return CategoricalParameter([unquoted(row["MinValue"])])
    return ContinuousParameter(low, high, str(row.get("ScalingType") or "Auto"))


def _integer(row: Mapping[str, Any]) -> Parameter:
    low, high = _number(row["MinValue"]), _number(row["MaxValue"])
    if low == high and low.is_integer():
        return CategoricalParameter([unquoted(row["MinValue"])])
    return IntegerParameter(low, high, str(row.get("ScalingType") or "Auto"))  # type: ignore[arg-type]


def _categorical(row: Mapping[str, Any]) -> Parameter:
    return CategoricalParameter(list(dict.fromkeys(str(value) for value in row["Values"])))


def _automatic(row: Mapping[str, Any]) -> Parameter:
    """A range around the hint: numbers by a factor of ten either way, the rest as it is."""
    hint = unquoted(str(row["ValueHint"]))
    try:
        value = json.loads(hint)
    except ValueError:
        value = hint
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return CategoricalParameter([str(row["ValueHint"])])
    if isinstance(value, int):
        low = max(1, round(value / AUTO_FACTOR))
        return IntegerParameter(low, max(low + 1, round(value * AUTO_FACTOR)), "logarithmic")
    return ContinuousParameter(value / AUTO_FACTOR, value * AUTO_FACTOR, "logarithmic")


def _number(text: Any) -> float:
    value = float(unquoted(str(text)))
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number.")
    return value
