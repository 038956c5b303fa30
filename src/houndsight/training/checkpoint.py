"""The state of a training on disk: tensors and JSON in one safetensors file, replaced whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from houndsight.errors import RunError

__all__ = [
    "Checkpoint",
    "load_checkpoint",
    "optimizer_tensors",
    "restore_optimizer",
    "save_checkpoint",
    "under",
]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors and a record of plain JSON values."""

    tensors: Mapping[str, Tensor]
    record: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix` and a slash, without it."""
        start = prefix + "/"
        return {n.removeprefix(start): t for n, t in self.tensors.items() if n.startswith(start)}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` with `prefix` and a slash before their names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace `path`, so that a reader or a crash meets the old or the new one, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    record = json.dumps({"v": FORMAT_VERSION, **checkpoint.record}, allow_nan=False)
    tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
    save_file(tensors, aside, metadata={"houndsight": record})
    _sync(aside)
    aside.replace(path)
    _sync(path.parent)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, None when there is none.

    Raises:
        RunError: the file is damaged, not ours, or a newer version wrote it.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["houndsight"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RunError(
            f"{path} is damaged or not a checkpoint ({error}); delete it to train from the start."
        ) from error
    if record.get("v", 0) > FORMAT_VERSION:
        raise RunError(
            f"{path} has format {record['v']}, newer than this version reads "
            f"({FORMAT_VERSION}); upgrade houndsight."
        )
    return Checkpoint(tensors, record)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory of each parameter, by its number and name: `3/exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}/{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer of the same parameters its memory back."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split("/", 1)
        parameter = parameters[int(number)]
        if value.shape == parameter.shape:
            # Fused optimizers walk memory side by side: the strides have to be the parameter's.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _sync(path: Path) -> None:
    """Have the disk hold what was written to a file or a folder."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
