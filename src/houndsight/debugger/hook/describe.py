"""Writes down what a training is made of, as `Structure` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.hook.dataflow import LINEAR, FirstForward
from houndsight.debugger.hook.firstlook import FirstLook
from houndsight.debugger.structure import (
    ModuleRecord,
    OptimizerRecord,
    ParameterRecord,
    Structure,
)

__all__ = ["describe"]

PLAIN = (bool, int, float, str)
MISSPELT = ("require_grad", "requires_gradient", "require_gradient", "required_grad", "trainable")


def describe(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    first: FirstForward | None,
    *,
    classes: int | None,
    compiled: bool,
    precision: str,
    functions: Mapping[str, str],
    coverage: Mapping[str, Any],
    facts: Mapping[str, Any],
    look: FirstLook,
) -> Structure:
    """Everything but the loss, which is known from its first call.

    `functions` are the kinds of all that is sampled, functional activations among them, by name.
    """
    return Structure(
        root=type(model).__name__,
        modules=_modules(model, first, functions),
        parameters=_parameters(model, optimizers, first),
        optimizer=_optimizer(optimizers),
        head=_head(model, first),
        classes=classes,
        world_size=_world_size(),
        device=_device(model),
        precision=precision,
        compiled=compiled,
        framework=torch.__version__,
        coverage=coverage,
        facts=facts,
        strangers=look.graph.strangers(_held(optimizers)) if look.graph else (),
        own_functions=look.graph.functions if look.graph else (),
        functional_dropout=look.dropouts.training if look.dropouts else 0.0,
        dropout_in_evaluation=look.dropouts.evaluation if look.dropouts else 0.0,
    )


def _held(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    return {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}


def _modules(
    model: nn.Module, first: FirstForward | None, functions: Mapping[str, str]
) -> tuple[ModuleRecord, ...]:
    order = {name: place for place, name in enumerate(first.order)} if first else {}
    called = tuple(
        ModuleRecord(name=name, kind=kind, order=order.get(name))
        for name, kind in functions.items()
        if kind.endswith("()")
    )
    return called + tuple(
        ModuleRecord(
            name=name, kind=type(module).__name__, order=order.get(name), settings=_plain(module)
        )
        for name, module in model.named_modules()
        if not any(module.children())
    )


def _plain(module: nn.Module) -> dict[str, Any]:
    """Attributes that are numbers, texts or tuples of them."""
    settings = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, PLAIN)
            or (isinstance(value, tuple) and all(isinstance(v, PLAIN) for v in value))
        )
    }
    for name in ("bias", "weight"):
        if name in module._parameters:
            settings[f"has_{name}"] = module._parameters[name] is not None
    return settings


def _parameters(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], first: FirstForward | None
) -> tuple[ParameterRecord, ...]:
    groups = {
        id(p): place
        for place, group in enumerate(g for o in optimizers for g in o.param_groups)
        for p in group["params"]
    }
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    normalised = first.normalised if first else {}
    modules = dict(model.named_modules())
    records = []
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        why = ""
        if owner in normalised and name.endswith("bias") and _cancels(modules[owner]):
            why = f"bias before BatchNorm {normalised[owner]}"
        others = tuple(n for n in names[id(parameter)] if n != name)
        records.append(
            ParameterRecord(
                name=name,
                shape=tuple(parameter.shape),
                module=owner,
                trainable=parameter.requires_grad,
                group=groups.get(id(parameter)),
                zero_gradient=why,
                shared_with=others,
                misspelt=_misspelt(parameter, modules[owner]),
            )
        )
    return tuple(records)


def _cancels(module: nn.Module) -> bool:
    return isinstance(module, LINEAR)


def _misspelt(parameter: Tensor, module: nn.Module) -> str:
    for thing in (parameter, module):
        for name in MISSPELT:
            if name in getattr(thing, "__dict__", {}):
                return f"{name}={getattr(thing, name)!r}"
    return ""


def _optimizer(optimizers: Sequence[torch.optim.Optimizer]) -> OptimizerRecord | None:
    if not optimizers:
        return None
    groups = tuple(
        {name: _value(value) for name, value in group.items() if name != "params"}
        for optimizer in optimizers
        for group in optimizer.param_groups
    )
    return OptimizerRecord(kind=type(optimizers[0]).__name__, groups=groups)


def _value(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else value.tolist()
    if isinstance(value, tuple | list):
        return tuple(_value(v) for v in value)
    return value if isinstance(value, PLAIN) or value is None else str(value)


def _head(model: nn.Module, first: FirstForward | None) -> str:
    """The last called module that has weights, BatchNorm and the like apart."""
    modules = dict(model.named_modules())
    called = first.order if first else []
    called = [n for n in called if n in modules]
    weighted = [n for n in called if isinstance(modules[n], LINEAR)]
    if not weighted:
        weighted = [n for n in called if any(True for _ in modules[n].parameters(recurse=False))]
    return weighted[-1] if weighted else ""


def _world_size() -> int:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def _device(model: nn.Module) -> str:
    parameter = next(model.parameters(), None)
    return "cpu" if parameter is None else parameter.device.type
