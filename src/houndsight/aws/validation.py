"""Parameters against the model: required and unknown members, lengths, ranges, patterns, enums.

botocore's own validator stops at types, required, unknown names and minima. Messages are worded as
AWS words them. Instance types are advice here, so a name that the model lacks is let through.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from houndsight.aws.service import AwsError

if TYPE_CHECKING:
    from botocore.model import Shape

__all__ = ["compiled", "validate"]

MOST_REPORTED = 10
SHOWN = 200
OPEN_ENUMS = ("InstanceType",)
"""Shapes with these endings take values that a later model may know."""
SPACES = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
UNICODE_CLASSES = {
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Print}": " -~",
    r"\p{ASCII}": r"\x00-\x7f",
    r"\p{IsLetter}": r"\w",
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": SPACES,
    r"\p{P}": r"!-/:-@\[-`{-~\u2010-\u2027",
}
"""Java's names in the models' patterns, for the inside of a character class."""


def validate(shape: Shape | None, parameters: Mapping[str, Any], *, code: str) -> None:
    """Check parsed parameters.

    Args:
        code: what the service calls such an error.

    Raises:
        AwsError: everything that is wrong, in one message.
    """
    problems: list[str] = []
    if shape is None:
        problems = [f"Unknown parameter {name!r}" for name in parameters]
    else:
        for problem in _structure(shape, parameters, ""):
            problems.append(problem)
            if len(problems) == MOST_REPORTED:
                break
    if problems:
        plural = "" if len(problems) == 1 else "s"
        raise AwsError(
            code, f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}"
        )


def _check(shape: Shape, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        if not getattr(shape, "is_document_type", False):
            yield from _structure(shape, value, path)
    elif kind == "string":
        yield from _string(shape, value, path)
    elif kind == "list":
        yield from _bounds(shape, len(value), value, path, "length")
        for number, item in enumerate(value, 1):
            yield from _check(shape.member, item, f"{path}.{number}.member")
    elif kind == "map":
        yield from _bounds(shape, len(value), value, path, "length")
        for key, item in value.items():
            yield from _check(shape.key, key, f"{path}.key")
            yield from _check(shape.value, item, f"{path}.{key[:SHOWN]}.member")
    elif kind == "blob" and len(value) < shape.metadata.get("min", 0):
        # How long a blob may be is a setting of its service.
        yield from _bounds(shape, len(value), value, path, "length")
    elif kind in ("integer", "long", "float", "double"):
        yield from _bounds(shape, value, value, path, "value")


def _structure(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    members = shape.members
    for name in shape.metadata.get("required", ()):
        if name not in value:
            yield _failed(None, _inside(path, name), "Member must not be null")
    for name, member in value.items():
        if name in members:
            yield from _check(members[name], member, _inside(path, name))
        else:
            where = f" in '{path}'" if path else ""
            yield f"Unknown parameter '{name[:SHOWN]}'{where}; there are {', '.join(members)}"
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield _failed(value, path, f"Exactly one of {', '.join(members)} must be set")


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    problem = next(_bounds(shape, len(value), value, path, "length"), None)
    if problem is not None:
        yield problem
        return
    choices = getattr(shape, "enum", ())
    if choices and value not in choices and not shape.name.endswith(OPEN_ENUMS):
        listed = ", ".join(sorted(choices))
        yield _failed(value, path, f"Member must satisfy enum value set: [{listed}]")
    pattern = shape.metadata.get("pattern")
    if pattern is not None and not choices:
        expression = compiled(pattern)
        if expression is not None and not expression.fullmatch(value):
            text = f"Member must satisfy regular expression pattern: {pattern}"
            yield _failed(value, path, text)


def _bounds(shape: Shape, size: float, value: Any, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        text = f"Member must have {what} greater than or equal to {low}"
        yield _failed(value, path, text)
    elif high is not None and size > high:
        text = f"Member must have {what} less than or equal to {high}"
        yield _failed(value, path, text)


@functools.cache
def compiled(pattern: str) -> re.Pattern[str] | None:
    """A Java pattern for Python; None when it cannot be said here, and is then not checked."""
    for java, python in UNICODE_CLASSES.items():
        while java in pattern:
            before, _, behind = pattern.partition(java)
            inside = before.rfind("[") > before.rfind("]")
            pattern = before + (python if inside else f"[{python}]") + behind
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except re.error:
        return None


def _inside(path: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _failed(value: Any, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{_short(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _short(value: Any) -> str:
    text = value[: SHOWN + 1] if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
