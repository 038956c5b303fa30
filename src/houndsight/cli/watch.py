"""`houndsight watch`: run a script and say what is wrong with its training."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from houndsight.cli.findings import SHOWN_OF_A_RULE

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.findings import Finding

__all__ = ["next_folder", "watch"]

DIED_OF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGPIPE)
"""Signals that end this command as they ended the script; others become 128 and the number."""


def watch(
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND", help="What you would type without Houndsight."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="The run folder. Default runs/SCRIPT, or -2, -3 …"),
    ] = None,
    rules: Annotated[
        str, typer.Option(metavar="NAMES", help="Which rules judge, with commas between.")
    ] = "default",
    stop: Annotated[
        bool, typer.Option("--stop", help="End the training when a rule finds an error.")
    ] = False,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Post each finding there as JSON.")
    ] = None,
) -> None:
    """Run a PyTorch script as it is, and say what is wrong with its training while it trains."""
    from rich.console import Console

    from houndsight.debugger.actions import Webhook
    from houndsight.debugger.rules import make_rules
    from houndsight.debugger.watch.launch import Watch
    from houndsight.debugger.watch.orders import Orders

    make_rules(rules)
    hook = Webhook(url=webhook) if webhook else None
    folder = out or next_folder(command)
    watched = Watch(command, Orders(folder=str(folder.resolve()), rules=rules, stop=stop))
    console = Console(stderr=True, highlight=False)
    console.print(f"[dim]houndsight watches; the run is {folder}[/dim]", soft_wrap=True)

    told: Counter[tuple[Path, str]] = Counter()

    def tell(of: Path, finding: Finding) -> None:
        told[of, finding.rule] += 1
        if told[of, finding.rule] <= SHOWN_OF_A_RULE:
            _print_live(finding, _which(of, folder), console)
        if hook is not None:
            hook(finding)

    status = watched.follow(tell)
    _print_more(told, console)
    _print_end(watched, folder, console)
    _leave(status)


def next_folder(command: list[str]) -> Path:
    """`runs/SCRIPT`, or with `-2` and so on: the first that is new."""
    scripts = [word for word in command if word.endswith(".py")]
    name = Path(scripts[0] if scripts else command[0]).stem
    number = 1
    while (folder := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _which(of: Path, run: Path) -> str:
    """What tells the models of a script apart; nothing for the first."""
    return "" if of == run.resolve() else f"{of.name}: "


def _print_live(finding: Finding, which: str, console: Console) -> None:
    """One compact block; on a terminal below whatever line the script is writing."""
    from rich.markup import escape

    from houndsight.findings import State

    if console.is_terminal:
        console.print()
    if finding.state == State.RESOLVED:
        console.print(f"[green]✓[/green] {which}resolved: {escape(finding.title)}", soft_wrap=True)
        return
    mark = {"error": "[red]✗[/red]", "warning": "[yellow]![/yellow]"}.get(finding.severity, "·")
    cause = finding.causes[0]
    lines = [
        f"{mark} {which}{escape(finding.title)} [dim]{finding.rule}[/dim]",
        f"    [dim]cause[/dim] {escape(cause.text)}",
        f"    [dim]fix[/dim]   {escape(cause.fix)}",
    ]
    console.print("\n".join(lines), soft_wrap=True)


def _print_more(told: Counter[tuple[Path, str]], console: Console) -> None:
    """Say how many findings of a rule were not told one by one."""
    more = {rule: n - SHOWN_OF_A_RULE for (_, rule), n in told.items() if n > SHOWN_OF_A_RULE}
    if more:
        text = ", ".join(f"{count} of {rule}" for rule, count in more.items())
        console.print(f"[dim]and further findings: {text}[/dim]", soft_wrap=True)


def _print_end(watched: Any, folder: Path, console: Console) -> None:
    from houndsight.cli.diagnosis import print_diagnosis
    from houndsight.runs import Run

    console.print()
    models = watched.attached()
    why = watched.why_nothing()
    if why:
        console.print(f"[yellow]![/yellow] {why}", soft_wrap=True)
    for model in models:
        if len(models) > 1:
            console.print(f"[bold]{_which(model, folder) or 'model-1: '}[/bold]".rstrip())
        print_diagnosis(Run.open(model).findings(), console)
        shown = folder / model.relative_to(folder.resolve())
        console.print(f"findings  houndsight findings {shown}", soft_wrap=True)


def _leave(status: int) -> None:
    """End as the script ended."""
    if status < 0:
        sys.stdout.flush()
        sys.stderr.flush()
        if -status in DIED_OF:
            if -status != signal.SIGKILL:
                signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        status = 128 - status
    raise typer.Exit(status)
