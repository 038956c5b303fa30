"""`houndsight findings`: what a run has to tell, each with cause and fix."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from houndsight.cli.diagnosis import print_diagnosis
from houndsight.wording import plural

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.findings import Finding

__all__ = ["findings", "judge_if_never_judged", "print_findings", "print_rules"]

SHOWN_OF_A_RULE = 3
SHOWN_EXAMPLES = 3
FOLLOW_SECONDS = 0.5


def findings(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on, and tell findings as they appear.")
    ] = False,
    rules: Annotated[
        bool, typer.Option("--rules", help="List every rule: whether it judged, or why not.")
    ] = False,
) -> None:
    """List a run's findings, the gravest first; works while it trains and long afterwards."""
    from rich.console import Console

    from houndsight.runs import Run

    run = Run.open(run_folder)
    judge_if_never_judged(run_folder)
    if rules:
        for part in judged_parts(run_folder):
            print_rules(part, Console(), as_json=as_json, title=_part_name(part, run_folder))
        return
    if follow:
        _follow(run_folder, Console(), as_json=as_json)
        return
    from houndsight.debugger.diagnosis import likely_causes

    found = run.findings()
    if as_json:
        for finding in found:
            typer.echo(json.dumps(finding.to_json(), default=str))
        return
    console = Console()
    if likely_causes(found):
        print_diagnosis(found, console)
        console.print()
    print_findings(found, console, examples=True)


def judge_if_never_judged(run_folder: Path) -> None:
    """A hook without `live` leaves a log of tensors and no verdict, or an old one."""
    written = [p.stat().st_mtime for p in run_folder.glob("tensors/rank-0/segment-*.arrow")]
    verdict = run_folder / "rules.json"
    if not written or (verdict.exists() and verdict.stat().st_mtime >= max(written)):
        return
    from houndsight.debugger.evaluator import judge_folder
    from houndsight.debugger.watch.launch import evaluator_alive
    from houndsight.errors import RunError

    if not evaluator_alive(run_folder):
        # A log that has just been begun, or that cannot be read, has no verdict yet.
        with contextlib.suppress(RunError):
            judge_folder(run_folder)


def _follow(run_folder: Path, console: Console, *, as_json: bool) -> None:
    """Tell findings until the run has ended."""
    from houndsight.debugger.following import News
    from houndsight.runs import Run, RunStatus

    news = News()
    going_on = True
    while going_on:
        run = Run.open(run_folder)
        going_on = run.status == RunStatus.RUNNING
        for finding in news.among(run.findings()):
            if as_json:
                typer.echo(json.dumps(finding.to_json(), default=str))
            else:
                print_findings([finding], console)
        time.sleep(FOLLOW_SECONDS if going_on else 0)
    if not as_json:
        console.print(f"The run is {Run.open(run_folder).status}.")


def judged_parts(run_folder: Path) -> list[Path]:
    """The folder itself and the parts of the run in it, those that rules have judged.

    With none of them the folder itself, whose verdicts `print_rules` then misses.
    """
    folders = [run_folder, *sorted(path.parent for path in run_folder.glob("watched/*/run.json"))]
    return [f for f in folders if (f / "rules.json").exists()] or [run_folder]


def _part_name(part: Path, run_folder: Path) -> str:
    return "" if part == run_folder else part.name


def _why_no_verdicts(run_folder: Path) -> str:
    from houndsight.debugger.watch.launch import evaluator_alive

    if evaluator_alive(run_folder):
        return f"{run_folder} is still being judged, on a busy machine: ask again in a minute."
    return f"{run_folder} has no verdicts of rules: nothing of a training was recorded in it."


def print_rules(
    run_folder: Path, console: Console, *, as_json: bool = False, title: str = ""
) -> None:
    """Print what became of every rule, under the name of the part of the run.

    Raises:
        RunError: no rule has looked at the run yet.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from houndsight.errors import RunError

    try:
        record = json.loads((run_folder / "rules.json").read_text())
        verdicts = list(record["rules"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(_why_no_verdicts(run_folder)) from error
    if as_json:
        for verdict in verdicts:
            typer.echo(json.dumps({"part": title, **verdict}))
        return
    table = Table(box=box.SIMPLE, show_edge=False, title=title or None, title_justify="left")
    for heading in ("rule", "standing", ""):
        table.add_column(heading, no_wrap=heading == "rule")
    for verdict in sorted(verdicts, key=lambda v: (v["standing"] != "judged", -v["findings"])):
        count = f"{plural(verdict['findings'], 'finding')}" if verdict["findings"] else ""
        table.add_row(verdict["rule"], verdict["standing"], escape(verdict["reason"] or count))
    console.print(table)
    console.print(_how_often(record), highlight=False, soft_wrap=True)


def _how_often(record: dict[str, Any]) -> str:
    looks = int(record.get("looks", 1))
    text = f"Judged up to step {int(record.get('step', 0)):,} in {plural(looks, 'look')}"
    if looks > 1:
        text += f"; the widest gap between two was {int(record['widest_gap_steps']):,} steps"
    return f"{text}, with {record.get('cpu_seconds', 0.0):.1f} s of processor time."


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
