"""Commands whose help speaks of what to type, not of Python's types."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]


class Command(TyperCommand):
    """A command in whose help a flag takes nothing, and an argument is known by its name."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, told as they are typed."""
        return [_plain(parameter) for parameter in super().get_params(ctx)]


class Group(TyperGroup):
    """The command that holds the others, told likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, told as they are typed."""
        return [_plain(parameter) for parameter in super().get_params(ctx)]


def _plain(parameter: Any) -> Any:
    """`<bool>` beside a flag and `<path>` beside RUN would only be in the way."""
    if parameter.param_type_name == "argument":
        parameter.display_type_rich = _nothing
    elif getattr(parameter, "is_flag", False) and parameter.metavar is None:
        parameter.metavar = ""
    return parameter


def _nothing(*_: Any, **__: Any) -> None:
    return None
