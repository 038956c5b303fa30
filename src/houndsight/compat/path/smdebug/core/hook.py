"""What hooks of all frameworks share; here there is only PyTorch's."""

from __future__ import annotations

__all__ = ["BaseHook", "CallbackHook"]


class BaseHook:
    """A hook."""


class CallbackHook(BaseHook):
    """A hook that is called by the framework."""

    INPUT_TENSOR_SUFFIX = "_input_"
    OUTPUT_TENSOR_SUFFIX = "_output_"
    GRADIENT_PREFIX = "gradient/"
    SCALAR_PREFIX = "scalar/"
