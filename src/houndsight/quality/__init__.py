"""Checks of the data and of the model that need features or predictions."""

from __future__ import annotations

from houndsight.findings import Finding
from houndsight.quality.calibration import poor_calibration
from houndsight.quality.confused_classes import confused_classes
from houndsight.quality.disputed import Dispute, disputed_labels, find_disputes
from houndsight.quality.duplicates import embedding_duplicates
from houndsight.quality.failing_groups import (
    Group,
    category_groups,
    cluster_groups,
    failing_groups,
    slices,
)
from houndsight.quality.fit import no_better_than_guessing, overfitted, underfitted
from houndsight.quality.result import Result
from houndsight.quality.weak_class import weak_classes

__all__ = [
    "Dispute",
    "Group",
    "Result",
    "category_groups",
    "cluster_groups",
    "disputed_labels",
    "embedding_duplicates",
    "explain",
    "failing_groups",
    "find_disputes",
    "slices",
]

CHECKS = (
    no_better_than_guessing,
    underfitted,
    overfitted,
    poor_calibration,
    weak_classes,
    confused_classes,
)
"""Every check of a finished model; a new one is its file and a line here."""


def explain(result: Result) -> list[Finding]:
    """Why the result is not better: nothing on a healthy one."""
    return [finding for check in CHECKS for finding in check(result)]
