"""SageMaker Debugger's client library, as far as scripts and notebooks use it, over Houndsight.

The hook, the store and the rules are those of `houndsight.debugger`; here are only the names
under which code written for SageMaker looks for them.
"""

from __future__ import annotations

from ._version import __version__
from .core.collection import CollectionKeys
from .core.modes import ModeKeys as modes  # noqa: N813
from .core.reduction_config import ReductionConfig
from .core.save_config import SaveConfig, SaveConfigMode

__all__ = [
    "CollectionKeys",
    "ReductionConfig",
    "SaveConfig",
    "SaveConfigMode",
    "__version__",
    "modes",
]

__houndsight__ = True
"""What tells this package from SageMaker's own."""
