"""The likeliest causes behind a training's findings, printed for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.debugger.diagnosis import Diagnosis
    from houndsight.findings import Finding

__all__ = ["debugger_findings", "likely_causes", "print_diagnosis"]

SHOWN = 3
LEAST = 0.25
"""A cause less likely than this is shown only if it is the likeliest of all."""


def debugger_findings(found: Iterable[Finding]) -> list[Finding]:
    """Those that the debugger's rules made and that still hold."""
    from houndsight.debugger.rules import RULES
    from houndsight.findings import State

    return [f for f in found if f.rule in RULES and f.state == State.OPEN]


def likely_causes(found: Iterable[Finding]) -> list[Diagnosis]:
    """The causes worth showing, the likeliest first; none while there are only remarks."""
    from houndsight.debugger.diagnosis import diagnose
    from houndsight.findings import Severity

    mine = debugger_findings(found)
    if all(finding.severity == Severity.INFO for finding in mine):
        return []
    ranked = diagnose(mine)
    return [d for n, d in enumerate(ranked[:SHOWN]) if n == 0 or d.cause.score >= LEAST]


def print_diagnosis(found: Iterable[Finding], console: Console) -> None:
    """Print the likeliest causes with evidence and fix; or that nothing is wrong."""
    from rich.markup import escape

    from houndsight.wording import plural

    found = list(found)
    causes = likely_causes(found)
    failed = [finding for finding in found if finding.rule == "HookFailed"]
    if failed:
        console.print(f"[yellow]![/yellow] {escape(failed[0].title)}", soft_wrap=True)
    if not causes:
        until = " until then" if failed else ""
        console.print(
            f"Nothing is wrong with this training as far as the rules can see{until}.",
            soft_wrap=True,
        )
        return
    title = "likeliest cause" if len(causes) == 1 else "likeliest causes"
    console.print(f"[bold]Diagnosis[/bold] [dim]{title}, over all findings[/dim]")
    for number, each in enumerate(causes, 1):
        cause = each.cause
        rules = len({rule for rule, _ in each.explains})
        share = f"{cause.score:.0%}, explains what {plural(rules, 'rule')} found"
        console.print(f"  {number}. {escape(cause.text)} [dim]{share}[/dim]", soft_wrap=True)
        if cause.evidence:
            console.print(f"     [dim]seen[/dim] {escape(cause.evidence)}", soft_wrap=True)
        console.print(f"     [dim]fix[/dim]  {escape(cause.fix)}", soft_wrap=True)
