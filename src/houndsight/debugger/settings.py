"""The settings of the debugger in `houndsight run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from houndsight.config import Settings, setting

__all__ = ["DebuggerSettings"]


@dataclass(frozen=True, kw_only=True)
class DebuggerSettings(Settings):
    """How a training is watched; nothing here changes what it learns."""

    section: ClassVar[str] = "debugger"

    rules: str = setting("default", choices=("default", "none"))
    """Which rules judge what is trained; `none` watches nothing."""
    save_interval: int = setting(500, minimum=1)
    """Optimizer steps between exact statistics of every tensor."""
    look_photos: int = setting(64, minimum=0, maximum=100_000)
    """How many training and as many validation photos go through the whole network, watched,
    before it is trained; 0 for none."""
