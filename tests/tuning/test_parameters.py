"""Parameters of a search space."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.errors import SettingError
from houndsight.tuning import CategoricalParameter, ContinuousParameter, IntegerParameter
from houndsight.tuning.parameters import check_parameters, check_space, parameter_from_json


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ContinuousParameter(1, 1), "low must be below high"),
        (lambda: ContinuousParameter(2, 1), "goes from 2 to 1"),
        (lambda: ContinuousParameter(0, 1, "logarithmic"), "low above 0"),
        (lambda: ContinuousParameter(0, 1, "cubic"), "'cubic'"),
        (lambda: ContinuousParameter(0, 1, "ReverseLogarithmic"), "high < 1"),
        (lambda: ContinuousParameter(0, math.inf), "finite"),
        (lambda: ContinuousParameter(0, math.nan), "finite"),
        (lambda: ContinuousParameter("0", 1), "must be a number"),  # type: ignore[arg-type]
        (lambda: ContinuousParameter(False, 1), "must be a number"),
        (lambda: IntegerParameter(1.5, 3), "whole number"),  # type: ignore[arg-type]
        (lambda: IntegerParameter(1, 3, "reverse_logarithmic"), "below 1"),
        (lambda: CategoricalParameter([]), "at least one"),
        (lambda: CategoricalParameter("abc"), "list"),
        (lambda: CategoricalParameter([1, 1.0]), "distinct"),
        (lambda: CategoricalParameter([1, True]), "distinct"),
        (lambda: CategoricalParameter([[1]]), "must be numbers"),  # type: ignore[list-item]
        (lambda: CategoricalParameter([math.nan]), "equals nothing"),
    ],
)
def test_a_wrong_parameter_is_a_sentence(make: Any, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        make()


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (ContinuousParameter(0, 1), 1.1),
        (ContinuousParameter(0, 1), "x"),
        (ContinuousParameter(0, 1), math.nan),
        (ContinuousParameter(0, 1), True),
        (IntegerParameter(0, 5), 1.5),
        (IntegerParameter(0, 5), 6),
        (IntegerParameter(0, 5), math.inf),
        (CategoricalParameter([1, 2]), 3),
        (CategoricalParameter([1, 2]), True),
        (CategoricalParameter([True]), 1),
    ],
)
def test_a_value_outside_is_a_sentence_with_name_and_value(parameter: Any, value: Any) -> None:
    with pytest.raises(SettingError, match="Parameter rate is") as error:
        parameter.check("rate", value)
    assert repr(value) in str(error.value)


def test_sagemakers_spelling_of_scalings_is_understood() -> None:
    assert ContinuousParameter(0.001, 0.1, "Logarithmic").scaling == "logarithmic"
    assert ContinuousParameter(0, 0.9, "ReverseLogarithmic").scaling == "reverse_logarithmic"


def test_auto_takes_the_logarithm_of_wide_ranges() -> None:
    assert ContinuousParameter(0.001, 0.1).resolved_scaling == "logarithmic"
    assert ContinuousParameter(0.1, 0.9).resolved_scaling == "linear"
    assert ContinuousParameter(-1, 100).resolved_scaling == "linear"


@given(
    st.floats(1e-6, 0.4),
    st.floats(0.5, 0.99),
    st.sampled_from(["linear", "logarithmic", "reverse_logarithmic", "auto"]),
    st.integers(2, 20),
)
def test_a_grid_spans_the_range_in_order(low: float, high: float, scaling: str, n: int) -> None:
    parameter = ContinuousParameter(low, high, scaling)
    grid = parameter.grid(n)
    assert (grid[0], grid[-1], len(grid)) == (low, high, n)
    checked = [parameter.check("x", value) for value in grid]
    assert checked == sorted(checked)


def test_an_integer_grid_has_no_value_twice() -> None:
    assert IntegerParameter(1, 3).grid(9) == [1, 2, 3]


@pytest.mark.parametrize(
    "parameter",
    [
        ContinuousParameter(0.1, 0.9, "reverse_logarithmic"),
        IntegerParameter(1, 9),
        CategoricalParameter(["a", 1, None]),
    ],
)
def test_json_brings_it_back(parameter: Any) -> None:
    assert parameter_from_json(parameter.to_json()) == parameter


def test_json_of_something_else_is_a_sentence() -> None:
    with pytest.raises(SettingError, match="no parameter"):
        parameter_from_json({"type": "quantum"})


def test_spaces_are_checked() -> None:
    with pytest.raises(SettingError, match="empty"):
        check_space({})
    with pytest.raises(SettingError, match="must be a ContinuousParameter"):
        check_space({"a": [1, 2]})  # type: ignore[dict-item]
    space = {"a": IntegerParameter(1, 2), "b": IntegerParameter(1, 2)}
    with pytest.raises(SettingError, match="has no c"):
        check_parameters(space, {"a": 1, "b": 1, "c": 1})
    with pytest.raises(SettingError, match="also needs b"):
        check_parameters(space, {"a": 1})
    assert list(check_parameters(space, {"b": 1, "a": 2.0})) == ["a", "b"]
