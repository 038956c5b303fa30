"""What was noticed, with cause and fix, one entry a rule."""

from __future__ import annotations

from collections.abc import Sequence

from houndsight.findings import Cause, Finding, State
from houndsight.reporting.diagnosed import likeliest_causes
from houndsight.reporting.document import FindingGroup, Findings, Paragraph, Remedy, Section
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.remedies import SET_ASIDE
from houndsight.reporting.text import clean, count, rule_words, said
from houndsight.wording import plural

__all__ = ["findings", "group_findings"]

MOST_EXAMPLES = 12
_SET_ASIDE = {rule_words(rule) for rule in SET_ASIDE}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def findings(m: Measurements) -> Section:
    """All findings, the gravest first; a sentence when there is none."""
    groups = group_findings(m.findings)
    if not groups:
        return Section(
            id="findings",
            title="Findings",
            blocks=(Paragraph(text="Nothing was found that needs your attention."),),
        )
    diagnosis = likeliest_causes(m.findings)
    blocks = [diagnosis] if diagnosis is not None else []
    return Section(
        id="findings",
        title="Findings",
        lead=_lead(groups),
        blocks=(*blocks, Findings(groups=groups)),
    )


def group_findings(found: Sequence[Finding]) -> tuple[FindingGroup, ...]:
    """Findings of one rule and state as one group, in the order of the gravest of each."""
    together: dict[tuple[str, bool], list[Finding]] = {}
    for finding in found:
        together.setdefault((finding.rule, finding.state == State.RESOLVED), []).append(finding)
    return tuple(_group(members) for members in together.values())


def _group(members: list[Finding]) -> FindingGroup:
    first = members[0]
    examples = _examples(members)
    total = max(len(examples), len(members) if len(members) > 1 else first.count)
    return FindingGroup(
        rule=rule_words(first.rule),
        level=str(first.severity),
        title=said(first.title, limit=400),
        remedies=tuple(_remedy(c) for c in _ranked(first)),
        scope=_scope(members),
        resolved=first.state == State.RESOLVED,
        examples=tuple(examples[:MOST_EXAMPLES]),
        left_out=max(total - MOST_EXAMPLES, 0) if examples else 0,
    )


def _ranked(finding: Finding) -> list[Cause]:
    return sorted(finding.causes, key=lambda c: -c.score)[:3]


def _remedy(cause: Cause) -> Remedy:
    return Remedy(
        cause=said(cause.text, limit=500),
        fix=said(cause.fix, limit=500),
        evidence=said(cause.evidence, limit=400),
    )


def _examples(members: list[Finding]) -> list[str]:
    """Where it holds: the other members' titles, or the examples of the only one."""
    if len(members) == 1:
        return [clean(e, limit=160) for e in members[0].examples]
    return [clean(f"{f.where}: {f.title}" if f.where else f.title, limit=220) for f in members]


def _scope(members: list[Finding]) -> str:
    parts = []
    if len(members) > 1:
        parts.append(f"and {plural(len(members) - 1, 'more place', 'more places')} like it")
    steps = [s for f in members for s in (f.first_step, f.last_step) if s is not None]
    if steps:
        low, high = min(steps), max(steps)
        parts.append(
            f"step {count(low)}" if low == high else f"steps {count(low)} to {count(high)}"
        )
    return ", ".join(parts)


def _lead(groups: tuple[FindingGroup, ...]) -> str:
    told = []
    grave = [g for g in groups if g.level == "error" and not g.resolved]
    spoiling = sum(1 for g in grave if g.rule not in _SET_ASIDE)
    if spoiling:
        makes = "makes" if spoiling == 1 else "make"
        told.append(f"{_number(spoiling)} {makes} the figures untrustworthy")
    costly = sum(1 for g in groups if g.level == "warning" and not g.resolved)
    if costly or len(grave) > spoiling:
        told.append(f"{_number(costly + len(grave) - spoiling)} may cost accuracy")
    notes = sum(1 for g in groups if g.level == "info" and not g.resolved)
    if notes:
        told.append(f"{_number(notes)} {'is' if notes == 1 else 'are'} good to know")
    settled = sum(1 for g in groups if g.resolved)
    if settled:
        told.append(f"{_number(settled)} {'has' if settled == 1 else 'have'} settled")
    sentence = ", ".join(told)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _number(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else count(number)
