"""Hypothesis strategies made from botocore's service models."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

__all__ = ["anything", "valid"]

XML_TEXT = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="￾￿")
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
DEEPEST = 3


class _Members(dict[str, Any]):
    """Strategies by name, whose own description would fill pages."""

    def __repr__(self) -> str:
        return "..."


@st.composite
def _some_of(draw: st.DrawFn, members: _Members, required: frozenset[str]) -> dict[str, Any]:
    return {
        name: draw(member)
        for name, member in members.items()
        if name in required or draw(st.booleans())
    }


def valid(shape: Any, depth: int = 0, *, text: st.SearchStrategy[str] | None = None) -> Any:
    """Values of the shape's type, with its required members, lengths and ranges; not patterns."""
    kind = shape.type_name
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if kind == "structure":
        required = set(shape.metadata.get("required", ()))
        members = {
            name: valid(member, depth + 1, text=text)
            for name, member in shape.members.items()
            if name in required or depth < DEEPEST
        }
        if getattr(shape, "is_tagged_union", False):
            return st.one_of(*(st.fixed_dictionaries({n: m}) for n, m in members.items()))
        return _some_of(_Members(members), frozenset(required))
    if kind == "list":
        most = max(low or 0, 2) if depth < DEEPEST else low or 0
        return st.lists(valid(shape.member, depth + 1, text=text), min_size=low or 0, max_size=most)
    if kind == "map":
        keys = valid(shape.key, depth + 1, text=text)
        return st.dictionaries(keys, valid(shape.value, depth + 1, text=text), max_size=2)
    if kind == "string":
        if getattr(shape, "enum", ()):
            return st.sampled_from(shape.enum)
        letters = text if text is not None else XML_TEXT
        return st.text(letters, min_size=low or 0, max_size=min(high or 12, (low or 0) + 12))
    if kind in ("integer", "long"):
        bits = 31 if kind == "integer" else 63
        return st.integers(
            -(1 << bits) if low is None else low, (1 << bits) - 1 if high is None else high
        )
    if kind in ("float", "double"):
        return st.floats(low, high, allow_nan=False, allow_infinity=False, width=32)
    if kind == "boolean":
        return st.booleans()
    if kind == "timestamp":
        return MOMENTS
    if kind == "blob":
        return st.binary(max_size=12)
    raise AssertionError(kind)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["../../etc", "a" * 300, "\x00", "\ud800", "\uff11\uff12", "arn:aws:iam::1:role/x"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def anything(shape: Any, depth: int = 0) -> Any:
    """Values near the shape: some of its own, some of any other kind, unknown names."""
    kind = shape.type_name
    if kind == "structure" and depth < DEEPEST:
        members = {name: anything(member, depth + 1) for name, member in shape.members.items()}
        known = _some_of(_Members(members), frozenset())
        unknown = st.dictionaries(st.text(max_size=6), JSON, max_size=1)
        return st.tuples(known, unknown).map(lambda two: {**two[1], **two[0]}) | JSON
    if kind == "list" and depth < DEEPEST:
        return st.lists(anything(shape.member, depth + 1), max_size=3) | JSON
    if kind == "string" and shape.metadata.get("pattern"):
        return _from_pattern(shape.metadata["pattern"]) | JSON
    if kind == "string" and getattr(shape, "enum", ()):
        return st.sampled_from(shape.enum) | JSON
    return JSON


def _from_pattern(pattern: str) -> st.SearchStrategy[str]:
    """Strings that Python takes for the pattern's; any where it cannot read the pattern."""
    try:
        return st.from_regex(re.compile(pattern), fullmatch=True)
    except (re.error, ValueError):
        return st.text(max_size=12)
