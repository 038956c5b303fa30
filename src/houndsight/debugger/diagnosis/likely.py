"""Which of the ranked causes are worth showing to a person."""

from __future__ import annotations

from collections.abc import Iterable

from houndsight.debugger.diagnosis.rank import Diagnosis, diagnose
from houndsight.debugger.rules import RULES
from houndsight.findings import Finding, Severity, State

__all__ = ["debugger_findings", "likely_causes"]

SHOWN = 3
LEAST = 0.25
"""A cause less likely than this is shown only if it is the likeliest of all."""


def debugger_findings(found: Iterable[Finding]) -> list[Finding]:
    """Those that the debugger's rules made and that still hold."""
    return [f for f in found if f.rule in RULES and f.state == State.OPEN]


def likely_causes(found: Iterable[Finding]) -> list[Diagnosis]:
    """The causes worth showing, the likeliest first; none while there are only remarks."""
    mine = debugger_findings(found)
    if all(finding.severity == Severity.INFO for finding in mine):
        return []
    ranked = diagnose(mine)[:SHOWN]
    return [d for place, d in enumerate(ranked) if place == 0 or d.cause.score >= LEAST]
