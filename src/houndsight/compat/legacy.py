"""Names that scripts of 2019 to 2021 use and newer libraries have removed.

Active only in jobs and endpoints that ask for an older PyTorch than runs them
(`HOUNDSIGHT_JOB_LEGACY` holds the version). Each shim waits for its module to be imported, and
says one line when the script first uses it. What is not in this table fails as the library makes
it fail; the job's FailureReason then names the replacement (`jobs.container.removed_names`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType

from houndsight.compat.importing import offer, when_imported

__all__ = ["ALWAYS", "GONE", "SHIMS", "VARIABLE", "begin"]

VARIABLE = "HOUNDSIGHT_JOB_LEGACY"

_HERE = "houndsight.compat.shims"
SHIMS: tuple[tuple[str, str], ...] = (
    ("numpy", f"{_HERE}.of_numpy:restore_names"),
    ("PIL.Image", f"{_HERE}.of_pillow:restore_filters"),
    ("PIL.ImageDraw", f"{_HERE}.of_pillow:restore_textsize"),
    ("PIL.ImageFont", f"{_HERE}.of_pillow:restore_getsize"),
    ("torch", f"{_HERE}.of_torch:load_whole_models"),
    ("torch.optim.lr_scheduler", f"{_HERE}.of_torch:accept_verbose"),
    ("torch.utils.data.dataloader", f"{_HERE}.of_torch:restore_next"),
    ("torchvision.transforms", f"{_HERE}.of_torchvision:restore_transforms"),
    ("torchvision.transforms.transforms", f"{_HERE}.of_torchvision:restore_transforms"),
    *(
        (f"torchvision.models.{name}", f"{_HERE}.of_torchvision:restore_model_urls")
        for name in ("resnet", "vgg", "densenet", "alexnet", "squeezenet", "inception", "googlenet")
    ),
    ("collections", f"{_HERE}.of_python:restore_abstract_classes"),
    ("time", f"{_HERE}.of_python:restore_clock"),
)
"""Module, and the function that is called with it."""
GONE: tuple[tuple[str, str], ...] = (
    ("torch._six", f"{_HERE}.of_torch:make_six"),
    ("torchvision.models.utils", f"{_HERE}.of_torchvision:make_models_utils"),
)
"""Modules that are no more, and what fills a new one."""
ALWAYS: tuple[tuple[str, str], ...] = (
    ("torch.hub", "houndsight.compat.weights:explain_downloads"),
)
"""Active whatever version is asked for."""

_begun = False


def begin() -> None:
    """Wait for the modules; a second call does nothing. Called by `sitecustomize`."""
    global _begun
    asked = os.environ.get(VARIABLE, "")
    if _begun or not asked:
        return
    _begun = True
    for name, function in ALWAYS:
        when_imported(name, _call(function))
    if not _may_be_older(asked):
        return
    for name, function in SHIMS:
        when_imported(name, _call(function))
    for name, function in GONE:
        offer(name, _call(function))


def _may_be_older(asked: str) -> bool:
    """Whether the version asked for is older than what is installed."""
    parts = asked.split(".")
    if not parts[0].isdigit():
        return False
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("torch").split(".")
    except PackageNotFoundError:
        return False
    minor = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
    return (int(parts[0]), minor) < (int(ours[0]), int(ours[1]))


def _call(function: str) -> Callable[[ModuleType], None]:
    """Calls `module:function` with the imported module; what it stands in is imported then."""

    def call(module: ModuleType) -> None:
        name, _, attribute = function.partition(":")
        getattr(importlib.import_module(name), attribute)(module)

    return call
