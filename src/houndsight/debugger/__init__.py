"""Watch a PyTorch training and say what is wrong, why, and what to change."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from houndsight.debugger.actions import Stop, TrainingStoppedError, Webhook
    from houndsight.debugger.history import History
    from houndsight.debugger.hook import Hook, HookListener
    from houndsight.debugger.record import Group, Mode, Row, Statistic
    from houndsight.debugger.structure import Structure
    from houndsight.debugger.tensor_log import TensorLog, read_history

__all__ = [
    "Group",
    "History",
    "Hook",
    "HookListener",
    "Mode",
    "Row",
    "Statistic",
    "Stop",
    "Structure",
    "TensorLog",
    "TrainingStoppedError",
    "Webhook",
    "read_history",
]

_HOMES = {
    "Group": "record",
    "History": "history",
    "Hook": "hook",
    "HookListener": "hook",
    "Mode": "record",
    "Row": "record",
    "Statistic": "record",
    "Stop": "actions",
    "Structure": "structure",
    "TensorLog": "tensor_log",
    "TrainingStoppedError": "actions",
    "Webhook": "actions",
    "read_history": "tensor_log",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'houndsight.debugger' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"houndsight.debugger.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
