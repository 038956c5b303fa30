"""NumPy: aliases of Python's types (removed in 1.24) and other names (removed in 2.0)."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from houndsight.compat.shims.fallback import give

__all__ = ["restore_names"]

NAMES: dict[str, str] = {
    "float": "float",
    "int": "int",
    "bool": "bool",
    "object": "object",
    "str": "str",
    "complex": "complex",
    "long": "int",
    "unicode": "str",
    "float_": "np.float64",
    "complex_": "np.complex128",
    "Inf": "np.inf",
    "Infinity": "np.inf",
    "infty": "np.inf",
    "PINF": "np.inf",
    "NaN": "np.nan",
    "unicode_": "np.str_",
    "string_": "np.bytes_",
    "product": "np.prod",
    "cumproduct": "np.cumprod",
    "sometrue": "np.any",
    "alltrue": "np.all",
    "round_": "np.round",
    "in1d": "np.isin",
    "trapz": "np.trapezoid",
    "row_stack": "np.vstack",
}
"""What was removed, and what it is now."""


def restore_names(numpy: ModuleType) -> None:
    """`np.float` is `float` again, and so on."""

    types = {"float": float, "int": int, "bool": bool, "object": object, "str": str}

    def value(name: str) -> Any:
        meaning = NAMES[name]
        if meaning.startswith("np."):
            return getattr(numpy, meaning[3:])
        return complex if meaning == "complex" else types[meaning]

    give(
        numpy,
        NAMES,
        value,
        lambda name: f"np.{name} was removed from NumPy; {NAMES[name]} stands in for it here.",
    )
