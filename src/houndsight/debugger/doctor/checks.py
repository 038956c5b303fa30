"""What the cheap checks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Shown"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a check showed."""

    check: str
    """Its name, as a person reads it."""
    text: str
    """One or two sentences with the figures."""
    rate: float | None = None
    """The learning rate that it speaks for."""
    confirms: tuple[str, ...] = ()
    """Names of causes that it speaks for,"""
    refutes: tuple[str, ...] = ()
    """and against."""
    curves: Mapping[str, Any] = field(default_factory=dict)
    """For a plot: `{name: [[x, y], …]}`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
