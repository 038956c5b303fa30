"""Tensors by SageMaker's collections and regular expressions.

A name matches as we record it (`layer1.0.conv1.weight`) or as SageMaker Debugger would have
named it: `ResNet_layer1.0.conv1.weight`, `gradient/ResNet_layer1.0.conv1.weight`,
`layer1.0.conv1_output_0`, `CrossEntropyLoss_output_0`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Parameter
from houndsight.errors import SettingError

__all__ = ["SELECTION", "Names", "select"]

COLLECTIONS: Mapping[str, tuple[Group, str]] = {
    "weights": (Group.PARAMETERS, r"^(?!gradient).*weight"),
    "biases": (Group.PARAMETERS, r"^(?!gradient).*bias"),
    "parameters": (Group.PARAMETERS, ""),
    "gradients": (Group.GRADIENTS, ""),
    "losses": (Group.SCALARS, ""),
    "activations": (Group.ACTIVATIONS, ""),
    "inputs": (Group.INPUTS, ""),
}
LOSS_CLASSES = {
    "cross_entropy": "CrossEntropyLoss",
    "nll_loss": "NLLLoss",
    "mse_loss": "MSELoss",
    "binary_cross_entropy": "BCELoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
}
Test = tuple[Group | None, re.Pattern[str]]
GROUPS = (Group.PARAMETERS, Group.GRADIENTS, Group.ACTIVATIONS, Group.INPUTS, Group.SCALARS)


class Names(tuple[str, ...]):
    """Several names: a list, or a text with commas between them."""

    __slots__ = ()

    def __new__(cls, value: str | Iterable[str] = ()) -> Names:
        parts = value.split(",") if isinstance(value, str) else [str(part) for part in value]
        return super().__new__(cls, [part.strip() for part in parts if part.strip()])


SELECTION: Mapping[str, Parameter] = {
    "collection_names": Parameter(
        Names, None, "Collections to look at, with commas between: " + ", ".join(COLLECTIONS) + "."
    ),
    "tensor_regex": Parameter(
        Names, None, "Regular expressions of tensors to look at, with commas between."
    ),
}
"""The parameters by which a person chooses tensors; given both, those of either are meant."""


def select(history: History, given: Mapping[str, Any]) -> dict[Group, tuple[str, ...]] | None:
    """The recorded names that a rule's `given` parameters choose; None when they choose none.

    Raises:
        SettingError: a collection is unknown, or an expression is none.
    """
    if not {"collection_names", "tensor_regex"} & given.keys():
        return None
    tests = _tests(history, given)
    chosen: dict[Group, tuple[str, ...]] = {}
    for group in GROUPS:
        names = ("loss",) if group == Group.SCALARS else _recorded(history, group)
        of_group = [pattern for only, pattern in tests if only in (None, group)]
        chosen[group] = tuple(
            name
            for name in names
            if any(p.search(n) for p in of_group for n in _spellings(history, group, name))
        )
    return chosen


def _recorded(history: History, group: Group) -> tuple[str, ...]:
    found = {
        statistic: history.series(group, statistic).names
        for statistic in (Statistic.NORM, Statistic.MEAN)
    }
    return tuple(dict.fromkeys(name for names in found.values() for name in names))


def _tests(
    history: History, given: Mapping[str, Any]
) -> list[tuple[Group | None, re.Pattern[str]]]:
    own = history.structure.coverage.get("collections") or {}
    tests: list[tuple[Group | None, re.Pattern[str]]] = []
    for name in given.get("collection_names", ()):
        if name in ("all", "default"):
            tests.append((None, re.compile("")))
        elif name in COLLECTIONS:
            group, pattern = COLLECTIONS[name]
            tests.append((group, re.compile(pattern)))
        elif isinstance(own, Mapping) and name in own:
            tests += [(None, _pattern(expression)) for expression in Names(own[name])]
        else:
            known = ", ".join(["all", *COLLECTIONS, *own])
            raise SettingError(f"There is no collection {name!r}; there are {known}.")
    tests += [(None, _pattern(expression)) for expression in given.get("tensor_regex", ())]
    return tests


def _pattern(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise SettingError(
            f"tensor_regex {expression!r} is no regular expression: {error}."
        ) from error


def _spellings(history: History, group: Group, name: str) -> tuple[str, ...]:
    root = history.structure.root
    if group == Group.PARAMETERS:
        return (name, f"{root}_{name}")
    if group == Group.GRADIENTS:
        # Never by the bare name: SageMaker's expressions for weights begin with (?!gradient).
        return (f"gradient/{name}", f"gradient/{root}_{name}")
    if group == Group.ACTIVATIONS:
        module = history.structure.module(name)
        kind = f"{name}_{module.kind.lower()}_output_0" if module else ""
        return (name, f"{name or root}_output_0", kind)
    if group == Group.INPUTS:
        return (f"input/{name}", f"{root}_input_0")
    loss = history.structure.loss
    kind = loss.kind if loss else "loss"
    return ("loss", f"{LOSS_CLASSES.get(kind, kind)}_output_0", "loss_output_0")
