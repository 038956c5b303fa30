"""The likeliest causes behind what the debugger's rules found."""

from __future__ import annotations

from collections.abc import Sequence

from houndsight.debugger.diagnosis import Diagnosis, diagnose
from houndsight.debugger.rules import RULES
from houndsight.findings import Finding, Severity, State
from houndsight.reporting.document import LikelyCause, LikelyCauses
from houndsight.reporting.text import percent, rule_words, said, sorted_out

__all__ = ["likeliest_causes"]

SHOWN = 3
LEAST = 0.25
"""A cause less likely than this is shown only if it is the likeliest of all."""
MOST_NAMED = 4


def likeliest_causes(findings: Sequence[Finding]) -> LikelyCauses | None:
    """The causes worth showing; None while the rules have made no more than remarks."""
    mine = [f for f in findings if f.rule in RULES and f.state == State.OPEN]
    if all(finding.severity == Severity.INFO for finding in mine):
        return None
    ranked = diagnose(mine)[:SHOWN]
    shown = [d for place, d in enumerate(ranked) if place == 0 or d.cause.score >= LEAST]
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
