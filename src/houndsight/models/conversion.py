"""PyTorch modules as OpenVINO models."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from houndsight.models.openvino_import import openvino

__all__ = ["to_openvino"]


def to_openvino(module: nn.Module, *, size: int, batch_size: int | None = None) -> Any:
    """`module` for images `(batch_size, 3, size, size)` float32; any number of them for None.

    OpenVINO's own tracing takes half as long as going through `torch.export` (6 s and 16 s for
    an EfficientNet-Lite0 with any number of images); where it fails the exporter is asked.

    Raises:
        RuntimeError: neither can follow the network.
    """
    example = torch.zeros(batch_size or 2, 3, size, size)
    with warnings.catch_warnings(), torch.no_grad():
        # Tracers warn about their own use of PyTorch, which no caller can change.
        warnings.simplefilter("ignore")
        try:
            model = openvino.convert_model(module.eval(), example_input=example)
        except Exception:  # tracers raise anything
            model = openvino.convert_model(_exported(module, example, batch_size))
    model.reshape([batch_size or -1, 3, size, size])
    return model


def _exported(module: nn.Module, example: torch.Tensor, batch_size: int | None) -> Any:
    batch = torch.export.Dim("batch", min=1, max=65_536)
    shapes = None if batch_size else ({0: batch},)
    return torch.export.export(module, (example,), dynamic_shapes=shapes, strict=False)
