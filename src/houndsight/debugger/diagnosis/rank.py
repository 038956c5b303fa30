"""Rank the causes that findings propose, over all findings together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from houndsight.debugger.diagnosis.consequences import CONSEQUENCES, POINTS_AT_ITSELF
from houndsight.findings import Cause, Finding, Severity

__all__ = ["Diagnosis", "diagnose"]

WEIGHTS = {Severity.ERROR: 1.0, Severity.WARNING: 0.7, Severity.INFO: 0.15}
EXPLAINED = 0.35
"""How likely a cause is by a finding that does not name it and is one of its consequences."""
LEAST = 0.02


@dataclass(frozen=True)
class Diagnosis:
    """One cause, how likely it is, and the findings it explains."""

    cause: Cause
    """With the combined score, and the evidence of all findings that name it."""
    explains: tuple[tuple[str, str], ...]
    """Keys (rule, where) of the findings, those that name the cause first."""


def diagnose(findings: Iterable[Finding]) -> list[Diagnosis]:
    """The causes behind the findings, the likeliest first.

    Causes with the same `name` are one. A cause's score is a noisy-or (Pearl 1988, section
    4.3.2) over the findings that name it, each by its own score and its severity, and over
    findings that are its consequences. A cause that was seen itself takes what it explains away
    from the causes that those findings propose for themselves.
    """
    findings = [finding for finding in findings if finding.severity in WEIGHTS]
    named = _named(findings)
    seen = {
        name
        for name, pairs in named.items()
        if any(c.score >= POINTS_AT_ITSELF and f.severity != Severity.INFO for f, c in pairs)
    }
    ranked = [
        _diagnosis(pairs, findings, explained_away=_explained(pairs, name, seen))
        for name, pairs in named.items()
    ]
    likely = [d for d in ranked if d.cause.score >= LEAST]
    return sorted(likely, key=lambda d: (-d.cause.score, -len(d.explains), d.cause.text))


def _named(findings: Sequence[Finding]) -> dict[str, list[tuple[Finding, Cause]]]:
    """The findings that propose a cause; one without a name is its own."""
    named: dict[str, list[tuple[Finding, Cause]]] = {}
    for finding in findings:
        for cause in finding.causes:
            named.setdefault(cause.name or f"{finding.rule}: {cause.text}", []).append(
                (finding, cause)
            )
    return named


def _explained(pairs: Sequence[tuple[Finding, Cause]], name: str, seen: set[str]) -> set[str]:
    """Rules among those of `pairs` whose findings another cause, seen itself, explains."""
    others = {rule for cause in seen - {name} for rule in CONSEQUENCES.get(cause, ())}
    return {finding.rule for finding, _ in pairs} & others


def _diagnosis(
    pairs: Sequence[tuple[Finding, Cause]],
    findings: Sequence[Finding],
    *,
    explained_away: set[str],
) -> Diagnosis:
    best = max(pairs, key=lambda pair: pair[1].score * WEIGHTS[pair[0].severity])[1]
    doubt, counted = 1.0, set[str]()
    # Fifty layers of one rule are one sign, not fifty.
    for finding, cause in sorted(pairs, key=lambda pair: -pair[1].score):
        if finding.rule not in counted:
            counted.add(finding.rule)
            share = 0.3 if finding.rule in explained_away else 1.0
            doubt *= 1 - share * WEIGHTS[finding.severity] * cause.score
    consequences = [
        finding
        for finding in findings
        if finding.rule in CONSEQUENCES.get(best.name, ()) and finding.rule not in counted
    ]
    for rule in {finding.rule for finding in consequences}:
        weight = max(WEIGHTS[f.severity] for f in consequences if f.rule == rule)
        doubt *= 1 - weight * EXPLAINED * best.score
    evidence = list(dict.fromkeys(cause.evidence for _, cause in pairs if cause.evidence))
    cause = replace(best, score=round(1 - doubt, 4), evidence=" ".join(evidence[:4]))
    keys = [finding.key for finding, _ in pairs] + [finding.key for finding in consequences]
    return Diagnosis(cause, tuple(dict.fromkeys(keys)))
