"""What a step was for."""

from __future__ import annotations

from enum import Enum

__all__ = ["ALLOWED_MODES", "ALLOWED_MODE_NAMES", "ModeKeys", "str_to_mode_keys"]


class ModeKeys(Enum):
    """TRAIN, EVAL and PREDICT count their own steps; GLOBAL counts all."""

    TRAIN = 1
    EVAL = 2
    PREDICT = 3
    GLOBAL = 4


ALLOWED_MODES = list(ModeKeys)
ALLOWED_MODE_NAMES = [mode.name for mode in ModeKeys]
MODE_STEP_PLUGIN_NAME = "mode_step"
MODE_PLUGIN_NAME = "mode"


def str_to_mode_keys(mode_str: str) -> ModeKeys:
    """`train` → `ModeKeys.TRAIN`."""
    if mode_str.upper() not in ModeKeys.__members__:
        raise ValueError(f"Invalid mode {mode_str!r}; there are {', '.join(ALLOWED_MODE_NAMES)}.")
    return ModeKeys[mode_str.upper()]
