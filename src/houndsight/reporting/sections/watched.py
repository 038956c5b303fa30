"""What was watched: every rule of the debugger, and whether it could judge."""

from __future__ import annotations

from houndsight.reporting.document import Block, Cell, Column, FoldedTable, Section, Table
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.text import count, rule_words, sorted_out
from houndsight.reporting.watched import RuleStanding, WatchedPart
from houndsight.wording import plural

__all__ = ["watched"]

MOST_NAMED = 8
_STANDINGS = {"judged": "judged", "not applicable": "could not judge", "failed": "failed"}


def watched(m: Measurements) -> Section | None:
    """A line a part, with the table of its rules to unfold; on paper those worth a word."""
    if not m.watched:
        return None
    return Section(
        id="watched",
        title="What was watched",
        lead="Rules of the debugger looked at these parts of the run. A rule that could not judge "
        "is no sign that all is well; it says what it lacked.",
        blocks=tuple(_block(part) for part in m.watched),
    )


def _block(part: WatchedPart) -> Block:
    return FoldedTable(summary=_summary(part), table=_table(part), brief=tuple(_brief(part)))


def _summary(part: WatchedPart) -> str:
    judged, spoke = len(part.of("judged")), len(part.spoke)
    what = f" {plural(part.steps, 'step')}" if part.steps > 1 else ""
    name = part.name[:1].upper() + part.name[1:]
    failed = f"; {count(len(part.of('failed')))} failed" if part.of("failed") else ""
    said = f"{count(spoke)} spoke" if spoke else "none spoke"
    return f"{name}: {judged} of {plural(len(part.rules), 'rule')} judged{what}; {said}{failed}"


def _table(part: WatchedPart) -> Table:
    rows = sorted(part.rules, key=_weight)
    return Table(
        caption=f"The rules that looked at the {part.name}",
        columns=(Column(title="Rule"), Column(title="Standing"), Column(title="What it says")),
        rows=tuple(
            (
                Cell(text=rule_words(rule.rule)),
                Cell(text=_STANDINGS.get(rule.standing, rule.standing)),
                Cell(text=_said(rule)),
            )
            for rule in rows
        ),
    )


def _brief(part: WatchedPart) -> list[tuple[str, str]]:
    """The rules that spoke, then those that could not judge, by reason."""
    rows = [(rule_words(rule.rule), _said(rule)) for rule in part.spoke]
    silent = [r for r in part.rules if r.standing != "judged"]
    for reason in dict.fromkeys(r.reason for r in silent):
        names = [rule_words(r.rule) for r in silent if r.reason == reason]
        rows.append((sorted_out(names, MOST_NAMED), reason or "could not judge"))
    return rows


def _said(rule: RuleStanding) -> str:
    if rule.standing != "judged":
        return rule.reason
    return plural(rule.findings, "finding") if rule.findings else "nothing to tell"


def _weight(rule: RuleStanding) -> tuple[int, int]:
    """Those that spoke first, then what failed, what judged and what could not."""
    order = {"failed": 1, "judged": 2}
    return (0 if rule.findings else order.get(rule.standing, 3), -rule.findings)
