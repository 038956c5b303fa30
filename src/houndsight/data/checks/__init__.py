"""The checks of the photos, one finding a file.

A check that only tells is a function `(photos: CheckedPhotos) -> list[Finding]`; one that also
sets photos aside returns an `Outcome`. `houndsight.data.check` runs them in order.
"""

from __future__ import annotations

from houndsight.data.checks.base import CheckedPhotos, Outcome

__all__ = ["CheckedPhotos", "Outcome"]
