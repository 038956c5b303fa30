"""Debugger and profiler of a training job: what SageMaker runs beside the script.

`Attendant` lives in the supervisor and holds neither PyTorch nor NumPy; the rules judge in a
process of their own (`judging`). The hook itself is in the script's process (`houndsight.compat`).
"""

from __future__ import annotations

from houndsight.jobs.debugging.attend import Attendant

__all__ = ["Attendant"]
