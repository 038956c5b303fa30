"""The likeliest causes behind what the debugger's rules found."""

from __future__ import annotations

from collections.abc import Sequence

from houndsight.debugger.diagnosis import Diagnosis, likely_causes
from houndsight.findings import Finding
from houndsight.reporting.document import LikelyCause, LikelyCauses
from houndsight.reporting.text import percent, rule_words, said, sorted_out

__all__ = ["likeliest_causes"]

MOST_NAMED = 4


def likeliest_causes(findings: Sequence[Finding]) -> LikelyCauses | None:
    """The causes worth showing; None while the rules have made no more than remarks."""
    shown = likely_causes(findings)
    if not shown:
        return None
    return LikelyCauses(
        title="Likeliest cause" if len(shown) == 1 else "Likeliest causes",
        note="over all that the rules found in the training",
        causes=tuple(_told(d) for d in shown),
    )


def _told(diagnosis: Diagnosis) -> LikelyCause:
    cause = diagnosis.cause
    rules = list(dict.fromkeys(rule_words(rule) for rule, _ in diagnosis.explains))
    return LikelyCause(
        cause=said(cause.text, limit=500),
        fix=said(cause.fix, limit=500),
        evidence=said(cause.evidence, limit=600),
        score=min(max(cause.score, 0.0), 1.0),
        share=percent(cause.score, 0),
        explains=sorted_out(rules, MOST_NAMED),
    )
