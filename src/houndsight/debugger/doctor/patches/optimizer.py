"""Changes of the call that makes the optimizer: learning rate, other settings, what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst

from houndsight.debugger.doctor.patches.script import NotLocatedError, Script, dotted

__all__ = ["hold_all_parameters", "set_learning_rate", "set_option"]


def set_learning_rate(script: Script, value: Any, arguments: Sequence[str]) -> str:
    """The text with another learning rate, wherever its number stands."""
    return _set(script, "lr", value, arguments, position=1)


def set_option(script: Script, name: str, value: Any, arguments: Sequence[str]) -> str:
    """The text with another setting of the optimizer, added where it has none."""
    return _set(script, name, value, arguments, position=None)


def _set(
    script: Script, name: str, value: Any, arguments: Sequence[str], *, position: int | None
) -> str:
    call = script.optimizer()
    new = cst.parse_expression(_code(value))
    given = next((a for a in call.args if a.keyword and a.keyword.value == name), None)
    if given is None and position is not None and len(call.args) > position:
        second = call.args[position]
        given = second if second.keyword is None and not second.star else None
    if given is None:
        keyword = cst.Arg(
            new,
            cst.Name(name),
            equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
        )
        return script.replace(call, call.with_changes(args=[*call.args, keyword]))
    if not isinstance(new, cst.Float | cst.Integer):
        return script.replace(given.value, new)
    _refuse_argument(given.value, value, arguments)
    return script.replace(script.value_of(given.value), new)


def _refuse_argument(expression: cst.BaseExpression, value: Any, arguments: Sequence[str]) -> None:
    """What the command line sets is not changed by another default."""
    if not isinstance(expression, cst.Attribute):
        return
    option = expression.attr.value.replace("_", "-")
    names = {f"--{option}", f"--{option.replace('-', '_')}"}
    for argument in arguments:
        if argument.partition("=")[0] in names:
            raise NotLocatedError(
                f"The command line sets it: give {argument.partition('=')[0]} {_code(value)}."
            )


def hold_all_parameters(script: Script) -> str:
    """The text with all of the model's parameters given to the optimizer."""
    call = script.optimizer()
    first = call.args[0].value if call.args else None
    if not isinstance(first, cst.Call) or not dotted(first.func).endswith(".parameters"):
        raise NotLocatedError("The optimizer is not given `….parameters()` of a part of the model.")
    whole = dotted(first.func).rpartition(".")[0]
    root = whole.split(".")[0]
    if root == "self" or root == whole:
        raise NotLocatedError(f"The optimizer is given {whole}.parameters() already.")
    return script.replace(first.func, cst.parse_expression(f"{root}.parameters"))


def _code(value: Any) -> str:
    return repr(value)
