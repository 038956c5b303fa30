"""What the hook is given and where it writes: checked, unwrapped, opened."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from houndsight.errors import SettingError
from houndsight.findings import Cause, Finding, Severity
from houndsight.runs import Run

__all__ = ["check", "collections", "failure", "listed", "open_run", "rank", "unwrapped"]

COLLECTIONS: Mapping[str, tuple[str, str]] = {
    "weights": ("parameters", "weight"),
    "biases": ("parameters", "bias"),
    "gradients": ("gradients", ""),
}
"""SageMaker's collections of tensors that can be kept whole at save intervals, and what is in
each: a group, and how the names end."""
SUMMARIES = ("losses", "default")


def check(model: Any, save_interval: int) -> None:
    """Raise `SettingError` if the hook cannot watch this."""
    if not isinstance(model, nn.Module):
        raise SettingError(f"model is a {type(model).__name__}; it must be a torch.nn.Module.")
    if isinstance(save_interval, bool) or not isinstance(save_interval, int) or save_interval < 1:
        raise SettingError(f"save_interval is {save_interval!r}; it must be at least 1 step.")


def collections(names: Iterable[str]) -> list[tuple[str, str]]:
    """The group and ending of each of SageMaker's collections that is kept whole.

    Raises:
        SettingError: for a name that is not a collection.
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in COLLECTIONS and name not in SUMMARIES:
            known = ", ".join((*COLLECTIONS, *SUMMARIES))
            raise SettingError(f"There is no collection {name!r}; there are: {known}.")
    return [COLLECTIONS[name] for name in names if name in COLLECTIONS]


def listed(optimizer: Any) -> list[torch.optim.Optimizer]:
    """The optimizers given: none, one or several.

    Raises:
        SettingError: for what is not a `torch.optim.Optimizer`.
    """
    if optimizer is None:
        return []
    listed = list(optimizer) if isinstance(optimizer, list | tuple) else [optimizer]
    for one in listed:
        if not isinstance(one, torch.optim.Optimizer):
            raise SettingError(
                f"optimizer is a {type(one).__name__}; it must be a torch.optim.Optimizer."
            )
    return listed


def unwrapped(model: nn.Module) -> tuple[nn.Module, bool]:
    """The module that has the parameters, and whether it is compiled."""
    compiled = False
    while True:
        if hasattr(model, "_orig_mod"):
            original: Any = model._orig_mod
            model, compiled = original, True
        elif isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        else:
            break
    return model, compiled or getattr(model, "_compiled_call_impl", None) is not None


def open_run(folder: Path | str | None) -> Run:
    """The run in the folder, made where there is none; without a folder, a new one in runs/."""
    if folder is None:
        script = Path(sys.argv[0]).stem or "training"
        folder = Path("runs") / f"{script}-{time.strftime('%Y%m%d-%H%M%S')}"
        number = 2
        while (folder / "run.json").exists():
            folder = folder.with_name(f"{folder.name.partition('.')[0]}.{number}")
            number += 1
    folder = Path(folder)
    if (folder / "run.json").exists():
        return Run.open(folder)
    return Run.create(folder, kind="job", config={})


def rank() -> int:
    """This process's number among those that train together; 0 if it is alone."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return int(os.environ.get("RANK", "0"))


def failure(error: BaseException) -> Finding:
    """The finding that says that the hook has failed."""
    return Finding(
        rule="HookFailed",
        where="",
        severity=Severity.INFO,
        title=f"The hook failed and watches no longer: {type(error).__name__}: {error}.",
        causes=(
            Cause(
                text="The hook has a fault of its own, or met something it does not know; the "
                "training goes on unharmed.",
                fix="Report it with the model's code; what was recorded until then stands.",
                score=1.0,
            ),
        ),
    )
