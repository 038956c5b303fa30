"""What is watched and what is not, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from houndsight.debugger.hook.activations import ActivationWatch, leaves
from houndsight.debugger.hook.collector import DENSE_STEPS, SAMPLE_EVERY, Collector
from houndsight.debugger.hook.lossscope import LossScope
from houndsight.debugger.hook.sampling import LIMIT

__all__ = ["coverage_of", "precision_of"]

NAMED = 5
"""Names given as examples for each reason."""


def coverage_of(
    model: nn.Module, collector: Collector, activations: ActivationWatch, scope: LossScope
) -> dict[str, Any]:
    """For `Structure.coverage`, in plain values."""
    watched = set(collector.watch.names) if collector.watch else set()
    parameters = dict(model.named_parameters())
    left_out = {name: _why(p) for name, p in parameters.items() if name not in watched}
    sampled = set(activations.names)
    modules = [name for name, _ in leaves(model)]
    passing = [name for name in modules if name not in sampled]
    return {
        "parameters": {"watched": len(watched), "left_out": _by_reason(left_out)},
        "modules": {
            "watched": len(sampled) - len(activations.functions),
            "left_out": _by_reason(
                dict.fromkeys(passing, "passes on what it gets, or is compiled")
            ),
        },
        "functions": list(activations.functions),
        "loss": type(scope.module).__name__ if scope.module else "wherever it is called",
        "sampling": {"values": LIMIT, "every_step_until": DENSE_STEPS, "then_every": SAMPLE_EVERY},
        "save_interval": collector.save_interval,
    }


def _why(parameter: Tensor) -> str:
    if parameter.is_floating_point() and not parameter.requires_grad:
        return "frozen, and in no optimizer"
    return f"not a plain tensor of floating point ({type(parameter).__name__}, {parameter.dtype})"


def _by_reason(reasons: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return {
        reason: {"count": len(names), "such_as": names[:NAMED]}
        for reason in dict.fromkeys(reasons.values())
        for names in [_with(reasons.items(), reason)]
    }


def _with(pairs: Iterable[tuple[str, str]], reason: str) -> list[str]:
    return [name for name, given in pairs if given == reason]


def precision_of(model: nn.Module, output: Tensor) -> str:
    """What the forward is computed in: autocast's type where that is on, else the parameters'."""
    kind = output.device.type
    if torch.is_autocast_enabled(kind):
        return str(torch.get_autocast_dtype(kind)).removeprefix("torch.")
    if output.dtype in (torch.float16, torch.bfloat16):
        return str(output.dtype).removeprefix("torch.")
    parameter = next(model.parameters(), None)
    return "float32" if parameter is None else str(parameter.dtype).removeprefix("torch.")
