"""Reductions of tensors."""

from __future__ import annotations

from typing import Any

from houndsight.debugger.hook.saving import reduced

__all__ = ["get_reduction_of_data"]


def get_reduction_of_data(
    reduction_name: str, tensor_data: Any, tensor_name: str = "", abs: bool = False
) -> float:
    """One figure of a tensor."""
    del tensor_name
    return reduced(tensor_data, f"abs_{reduction_name}" if abs else reduction_name)
