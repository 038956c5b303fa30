"""Settings of the backbone's runtime and of the feature cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from houndsight.config import Settings, setting

__all__ = ["ModelSettings", "RuntimeName"]

RuntimeName = Literal["auto", "openvino", "torch"]


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """How features are computed and how many are kept."""

    section: ClassVar[str] = "models"

    runtime: str = setting("auto", choices=("auto", "openvino", "torch"))
    """What runs the frozen backbone: `auto` takes a GPU through PyTorch, else OpenVINO."""
    cache_gigabytes: float = setting(20.0, minimum=0.1)
    """Features and activations kept for later runs, in all; the least recently used go first."""

    @property
    def runtime_name(self) -> RuntimeName:
        """`runtime`, for type checkers."""
        return cast(RuntimeName, self.runtime)
