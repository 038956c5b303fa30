"""SageMaker's rules for trees and texts, which answer an error that says why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule, UnsupportedRuleError
from houndsight.findings import Finding

__all__ = [
    "UNSUPPORTED",
    "CreateXgboostReport",
    "FeatureImportanceOverweight",
    "NLPSequenceRatio",
    "TreeDepth",
]


class _Unsupported(Rule):
    """Takes whatever parameters it is given and fails with its reason."""

    sagemaker = True
    reason: ClassVar[str]

    def __init__(self, **parameters: Any) -> None:
        super().__init__()
        self.given = dict(parameters)

    def evaluate(self, history: History) -> Iterable[Finding]:
        del history
        raise UnsupportedRuleError(self.reason)


class NLPSequenceRatio(_Unsupported):
    """Judges the share of padding in batches of texts."""

    name = "NLPSequenceRatio"
    reason = (
        "NLPSequenceRatio judges tokens of texts, which a network for images does not have; "
        "leave it out."
    )


class FeatureImportanceOverweight(_Unsupported):
    """Judges the importance of an XGBoost model's features."""

    name = "FeatureImportanceOverweight"
    reason = (
        "FeatureImportanceOverweight judges the features of XGBoost's trees, which a network for "
        "images does not have; leave it out."
    )


class TreeDepth(_Unsupported):
    """Judges the depth of an XGBoost model's trees."""

    name = "TreeDepth"
    reason = (
        "TreeDepth judges XGBoost's trees, which a network for images does not have; leave it out."
    )


class CreateXgboostReport(_Unsupported):
    """Writes a report of an XGBoost training."""

    name = "CreateXgboostReport"
    reason = (
        "CreateXgboostReport reports on XGBoost's trees, which a network for images does not have; "
        "the run's own report.html takes its place."
    )


UNSUPPORTED: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (NLPSequenceRatio, FeatureImportanceOverweight, TreeDepth, CreateXgboostReport)
}
"""Known names that a training of an image network cannot be judged by."""
