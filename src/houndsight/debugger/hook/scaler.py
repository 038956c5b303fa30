"""Finding the gradient scaler that lets an optimizer step."""

from __future__ import annotations

import sys
from typing import Any

import torch

__all__ = ["calling_scaler"]

DEPTH = 12
"""Frames between the hook and `GradScaler.step`, with room for what schedulers wrap around."""


def calling_scaler() -> torch.amp.GradScaler | None:
    """The `GradScaler` whose `step` is running on this thread's stack; None when none is."""
    frame: Any = sys._getframe(1)
    for _ in range(DEPTH):
        if frame is None:
            return None
        if frame.f_code.co_name in ("step", "_maybe_opt_step"):
            owner = frame.f_locals.get("self")
            if isinstance(owner, torch.amp.GradScaler):
                return owner
        frame = frame.f_back
    return None
