"""`houndsight findings`: what a run has to tell, each with cause and fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.findings import Finding

__all__ = ["findings", "print_findings"]

SHOWN_OF_A_RULE = 3
SHOWN_EXAMPLES = 3


def findings(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """List a run's findings, the gravest first; works while it trains and long afterwards."""
    from rich.console import Console

    from houndsight.runs import Run

    found = Run.open(run_folder).findings()
    if as_json:
        for finding in found:
            typer.echo(json.dumps(finding.to_json(), default=str))
        return
    print_findings(found, Console(), examples=True)


def print_findings(found: list[Finding], console: Console, *, examples: bool = False) -> None:
    """Print findings for a person; of a rule with many, the first few and how many more.

    With `examples` also some of what each holds for.
    """
    from rich.markup import escape

    marks = {"error": "[red]✗[/red]", "warning": "[yellow]![/yellow]", "info": "[blue]·[/blue]"}
    if not found:
        console.print("No findings.")
    by_rule: dict[str, list[Finding]] = {}
    for finding in found:
        by_rule.setdefault(finding.rule, []).append(finding)
    for rule, group in by_rule.items():
        for finding in group[:SHOWN_OF_A_RULE]:
            cause = finding.causes[0]
            resolved = " [dim](resolved)[/dim]" if finding.state == "resolved" else ""
            title = f"{escape(finding.title)}{resolved} [dim]{rule}[/dim]"
            _print_hanging(marks[finding.severity], title, console)
            _print_hanging("    [dim]cause[/dim]", escape(cause.text), console)
            _print_hanging("    [dim]fix[/dim]  ", escape(cause.fix), console)
            if examples and finding.examples:
                _print_hanging("    [dim]as in[/dim]", escape(_examples(finding)), console)
        if len(group) > SHOWN_OF_A_RULE:
            more = len(group) - SHOWN_OF_A_RULE
            console.print(f"  [dim]and {more} more of {rule}[/dim]", highlight=False)


def _examples(finding: Finding) -> str:
    """The first few, without what a terminal would take for a command."""
    shown = finding.examples[:SHOWN_EXAMPLES]
    more = max(finding.count, len(finding.examples)) - len(shown)
    named = ["".join(c if c.isprintable() else "?" for c in example) for example in shown]
    return ", ".join(named) + (f" and {more:,} more" if more > 0 else "")


def _print_hanging(mark: str, text: str, console: Console) -> None:
    """Print `text` beside `mark`, its further lines under its first."""
    from rich.table import Table

    line = Table.grid(padding=(0, 1))
    line.add_row(mark, text)
    console.print(line, highlight=False)
