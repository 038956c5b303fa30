"""How weights are drawn, and how not to."""

from __future__ import annotations

import torch
from torch import nn

from fault_suite.networks import Network

__all__ = ["initialise"]

FACTORS = {"large": 10.0, "tiny": 0.01, "zero": 0.0}


def initialise(model: Network, kind: str) -> None:
    """Draw the weights as `kind` says; `default` is PyTorch's own."""
    with torch.no_grad():
        if kind == "default":
            _redraw(model)
        elif kind in ("kaiming", "xavier"):
            _by_rule(model, kind)
        elif kind == "bias=0":
            _biases(model, 0.0)
        elif kind == "large head":
            model.head.weight *= 50
        elif kind == "uniform":
            _positive(model)
        elif kind == "normal":
            _normal(model)
        elif kind == "dead":
            _biases(model.features, -10.0)
        else:
            _scaled(model, kind)


def _redraw(model: Network) -> None:
    for module in model.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()


def _by_rule(model: Network, kind: str) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if kind == "kaiming":
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(module.weight)
    _biases(model, 0.0)


def _biases(model: nn.Module, value: float) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.fill_(value)


def _positive(model: Network) -> None:
    """`nn.init.uniform_` as it is: from 0 to 1."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.uniform_(parameter)


def _normal(model: Network) -> None:
    """`nn.init.normal_` as it is: with a deviation of 1."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter)


def _scaled(model: Network, kind: str) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1 and kind == "constant":
            parameter.fill_(0.02)
        elif parameter.dim() > 1:
            parameter.mul_(FACTORS[kind])
