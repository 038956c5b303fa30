"""Recordings of trainings that never were: a healthy one, and ways to make it ill.

`healthy()` is what the hook would have written of a small convolutional network trained with
SGD on ten classes: every group, plausible figures, noise. `Recording.changed` replaces values.
"""

from houndsight.debugger.testing.healthy import HEALTHY, frozen, healthy
from houndsight.debugger.testing.network import structure
from houndsight.debugger.testing.recording import Case, Recording

__all__ = ["HEALTHY", "Case", "Recording", "frozen", "healthy", "structure"]
