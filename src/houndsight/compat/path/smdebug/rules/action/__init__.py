"""What is done when a rule is met."""

from __future__ import annotations

from .action import Actions

__all__ = ["Actions"]
