"""The likeliest causes behind a training's findings, printed for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.findings import Finding

__all__ = ["print_diagnosis"]


def print_diagnosis(found: Iterable[Finding], console: Console) -> None:
    """Print the likeliest causes with evidence and fix; or that nothing is wrong."""
    from rich.markup import escape

    from houndsight.debugger.diagnosis import likely_causes
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
