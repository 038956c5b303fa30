"""The structure of a small convolutional network, as the hook would describe it."""

from __future__ import annotations

from typing import Any

from houndsight.debugger.structure import (
    LossRecord,
    ModuleRecord,
    OptimizerRecord,
    ParameterRecord,
    Structure,
)

__all__ = ["LAYERS", "structure"]

LAYERS = ("conv1", "conv2", "conv3")


def structure(*, classes: int = 10, optimizer: str = "SGD", rate: float = 0.05) -> Structure:
    """Three blocks of convolution, BatchNorm and ReLU, and a linear head `fc`."""
    modules: list[ModuleRecord] = []
    parameters: list[ParameterRecord] = []
    for index, layer in enumerate(LAYERS):
        width = 16 * 2**index
        kinds = ((layer, "Conv2d"), (f"bn{index + 1}", "BatchNorm2d"), (f"relu{index + 1}", "ReLU"))
        settings: tuple[dict[str, Any], ...] = (
            {"in_channels": 3 if index == 0 else width // 2, "out_channels": width},
            {"num_features": width, "momentum": 0.1, "eps": 1e-5, "track_running_stats": True},
            {"inplace": False},
        )
        for (name, kind), values in zip(kinds, settings, strict=True):
            modules.append(ModuleRecord(name=name, kind=kind, order=len(modules), settings=values))
        parameters.append(_parameter(f"{layer}.weight", (width, 3, 3, 3), layer))
        parameters.append(_parameter(f"bn{index + 1}.weight", (width,), f"bn{index + 1}"))
        parameters.append(_parameter(f"bn{index + 1}.bias", (width,), f"bn{index + 1}"))
    modules.append(
        ModuleRecord(
            name="fc",
            kind="Linear",
            order=len(modules),
            settings={"in_features": 64, "out_features": classes},
        )
    )
    parameters += [
        _parameter("fc.weight", (classes, 64), "fc"),
        _parameter("fc.bias", (classes,), "fc"),
    ]
    group: dict[str, Any] = {"lr": rate, "weight_decay": 5e-4}
    group |= {"momentum": 0.9} if optimizer == "SGD" else {"betas": (0.9, 0.999), "eps": 1e-8}
    return Structure(
        root="Net",
        modules=tuple(modules),
        parameters=tuple(parameters),
        optimizer=OptimizerRecord(kind=optimizer, groups=(group,)),
        loss=LossRecord(
            kind="cross_entropy",
            settings={"label_smoothing": 0.0, "reduction": "mean"},
            target_kind="indices",
            outputs=classes,
        ),
        head="fc",
        classes=classes,
        framework="2.14.1",
    )


def _parameter(name: str, shape: tuple[int, ...], module: str) -> ParameterRecord:
    return ParameterRecord(name=name, shape=shape, module=module, trainable=True, group=0)
