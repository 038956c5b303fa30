"""The parameters a search may vary, with the names and scaling types of SageMaker.

A space is a mapping from parameter name to one of these. Values are plain (float, int, str,
bool or None), so that a trial is a line of JSON.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from houndsight.errors import SettingError

__all__ = [
    "CategoricalParameter",
    "ContinuousParameter",
    "IntegerParameter",
    "Parameter",
    "Space",
    "Value",
    "check_parameters",
    "check_space",
    "parameter_from_json",
]

Value = float | int | str | bool | None
"""A parameter's value in one trial."""

SCALINGS = ("auto", "linear", "logarithmic", "reverse_logarithmic")

AUTO_LOGARITHMIC_RATIO = 100.0
"""With `auto`, a positive range is searched by its logarithm from two decades upwards."""


class Parameter(ABC):
    """One dimension of a search space."""

    @abstractmethod
    def check(self, name: str, value: Any) -> Value:
        """`value` in the parameter's own type.

        Raises:
            SettingError: it lies outside; the sentence names parameter, value and range.
        """

    @abstractmethod
    def grid(self, points: int) -> list[Value]:
        """At most `points` values spread over the range by its scaling; both ends included."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain values, `parameter_from_json` reads them."""


Space = Mapping[str, Parameter]
"""A search space: parameter by name."""


@dataclass(frozen=True)
class _Range(Parameter):
    low: float
    high: float
    scaling: str = "auto"
    """`linear`, `logarithmic` (low > 0), `reverse_logarithmic` (0 <= low, high < 1: searched by
    the logarithm of 1 - x) or `auto`; SageMaker's spelling, such as `ReverseLogarithmic`, too."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        scaling = _snake_case(self.scaling)
        if scaling not in SCALINGS:
            raise SettingError(
                f"{kind}'s scaling is {self.scaling!r}; it must be one of {', '.join(SCALINGS)}."
            )
        self._check_ends(kind)
        if not self.low < self.high:
            raise SettingError(
                f"{kind} goes from {self.low} to {self.high}; low must be below high "
                f"(for one fixed value use CategoricalParameter([{self.low}]))."
            )
        if scaling == "logarithmic" and self.low <= 0:
            raise SettingError(
                f"{kind}'s low is {self.low}; logarithmic scaling needs a low above 0."
            )
        object.__setattr__(self, "scaling", scaling)

    def _check_ends(self, kind: str) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SettingError(f"{kind}'s {name} is {value!r}; it must be a number.")
            if not math.isfinite(value):
                raise SettingError(f"{kind}'s {name} is {value}; it must be finite.")

    @property
    def resolved_scaling(self) -> str:
        """The scaling with `auto` decided."""
        if self.scaling != "auto":
            return self.scaling
        wide = self.low > 0 and self.high / self.low >= AUTO_LOGARITHMIC_RATIO
        return "logarithmic" if wide else "linear"

    def _points(self, points: int) -> list[float]:
        if points < 2:
            return [self.low]
        shares = [index / (points - 1) for index in range(points)]
        if self.resolved_scaling == "logarithmic":
            low, high = math.log(self.low), math.log(self.high)
            inner = [math.exp(low + share * (high - low)) for share in shares[1:-1]]
        elif self.resolved_scaling == "reverse_logarithmic":
            low, high = math.log1p(-self.low), math.log1p(-self.high)
            inner = [-math.expm1(low + share * (high - low)) for share in shares[1:-1]]
        else:
            inner = [self.low + share * (self.high - self.low) for share in shares[1:-1]]
        return [self.low, *inner, self.high]

    def _check_range(self, name: str, value: float) -> None:
        if not self.low <= value <= self.high:
            raise SettingError(
                f"Parameter {name} is {value}; it must lie between {self.low} and {self.high}."
            )


@dataclass(frozen=True)
class ContinuousParameter(_Range):
    """A real number between `low` and `high`, both included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        if self.scaling == "reverse_logarithmic" and not (self.low >= 0 and self.high < 1):
            raise SettingError(
                f"ContinuousParameter goes from {self.low} to {self.high}; "
                "reverse_logarithmic scaling needs 0 <= low and high < 1."
            )

    def check(self, name: str, value: Any) -> float:
        """A float within the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise SettingError(f"Parameter {name} is {value!r}; it must be a number.")
        self._check_range(name, value)
        return float(value)

    def grid(self, points: int) -> list[Value]:
        """`points` values, both ends included."""
        return list(self._points(points))

    def to_json(self) -> dict[str, Any]:
        """Type, range and scaling."""
        return {"type": "continuous", "low": self.low, "high": self.high, "scaling": self.scaling}


@dataclass(frozen=True)
class IntegerParameter(_Range):
    """A whole number between `low` and `high`, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scaling == "reverse_logarithmic":
            raise SettingError(
                "IntegerParameter's scaling is reverse_logarithmic, which is for numbers below 1; "
                "use linear or logarithmic."
            )

    def _check_ends(self, kind: str) -> None:
        super()._check_ends(kind)
        for name in ("low", "high"):
            value = getattr(self, name)
            if int(value) != value:
                raise SettingError(f"{kind}'s {name} is {value}; it must be a whole number.")
            object.__setattr__(self, name, int(value))

    def check(self, name: str, value: Any) -> int:
        """An int within the range; a float such as 32.0 counts as one."""
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        if not whole or value != value or math.isinf(value) or int(value) != value:
            raise SettingError(f"Parameter {name} is {value!r}; it must be a whole number.")
        self._check_range(name, value)
        return int(value)

    def grid(self, points: int) -> list[Value]:
        """At most `points` different values, both ends included."""
        return list(dict.fromkeys(round(point) for point in self._points(points)))

    def to_json(self) -> dict[str, Any]:
        """Type, range and scaling."""
        return {"type": "integer", "low": self.low, "high": self.high, "scaling": self.scaling}


@dataclass(frozen=True)
class CategoricalParameter(Parameter):
    """One of `values`, between which there is no order."""

    values: tuple[Value, ...]

    def __init__(self, values: Sequence[Value]) -> None:
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise SettingError(
                f"CategoricalParameter's values are {values!r}; "
                "they must be a list with at least one value."
            )
        for value in values:
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise SettingError(
                    f"CategoricalParameter holds {value!r}; "
                    "values must be numbers, strings, booleans or None."
                )
        for index, value in enumerate(values):
            if value != value or value in values[:index]:
                raise SettingError(
                    f"CategoricalParameter holds {value!r} twice or a value that equals nothing; "
                    "each value must be distinct."
                )
        object.__setattr__(self, "values", tuple(values))

    def check(self, name: str, value: Any) -> Value:
        """The one of `values` that equals `value`."""
        for known in self.values:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return known
        shown = ", ".join(repr(known) for known in self.values)
        raise SettingError(f"Parameter {name} is {value!r}; it must be one of {shown}.")

    def grid(self, points: int) -> list[Value]:  # noqa: ARG002
        """All values, whatever `points` is."""
        return list(self.values)

    def to_json(self) -> dict[str, Any]:
        """Type and values."""
        return {"type": "categorical", "values": list(self.values)}


def parameter_from_json(record: Mapping[str, Any]) -> Parameter:
    """The parameter that `to_json` wrote.

    Raises:
        SettingError: it is none.
    """
    try:
        if record["type"] == "categorical":
            return CategoricalParameter(record["values"])
        kinds = {"continuous": ContinuousParameter, "integer": IntegerParameter}
        return kinds[record["type"]](record["low"], record["high"], record["scaling"])
    except (KeyError, TypeError) as error:
        raise SettingError(f"{dict(record)!r} is no parameter of a search.") from error


def check_space(space: Space) -> None:
    """Refuse what is no search space.

    Raises:
        SettingError: it is empty, or a name or parameter is of a wrong type.
    """
    if not space:
        raise SettingError("The search space is empty; give it at least one parameter.")
    for name, parameter in space.items():
        if not isinstance(name, str) or not name:
            raise SettingError(f"The search space names a parameter {name!r}; use a word.")
        if not isinstance(parameter, Parameter):
            raise SettingError(
                f"Parameter {name} is {parameter!r}; it must be a ContinuousParameter, "
                "an IntegerParameter or a CategoricalParameter."
            )


def check_parameters(space: Space, parameters: Mapping[str, Any]) -> dict[str, Value]:
    """`parameters` in the types and the order of `space`.

    Raises:
        SettingError: one is missing, unknown or out of range.
    """
    unknown = sorted(set(parameters) - set(space))
    missing = sorted(set(space) - set(parameters))
    if unknown or missing:
        said = f"has no {', '.join(unknown)}" if unknown else f"also needs {', '.join(missing)}"
        raise SettingError(f"The search space {said}; its parameters are {', '.join(space)}.")
    return {name: parameter.check(name, parameters[name]) for name, parameter in space.items()}


def _snake_case(scaling: str) -> str:
    spread = "".join(f"_{c.lower()}" if c.isupper() else c for c in str(scaling))
    return spread.strip("_")
