"""`houndsight compare`: what one run has more than another on the same photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from houndsight.wording import plural

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.reporting.compare import Comparison

__all__ = ["EXIT_BELOW", "compare"]

EXIT_BELOW = 3
"""What the command ends with under `--fail-below`; errors end with 1 or 2."""

SHOWN_CLASSES = 15


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="The run to compare with.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The run to judge.")],
    fail_below: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            min=-100,
            max=100,
            help="End with exit code 3 when B's top-1 minus A's is less than POINTS, in "
            "percentage points: 0 allows no loss, -1 a loss of one point, 2 asks for a gain of "
            "two. The difference itself counts, not its interval.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two runs on the test photos of both, with confidence intervals, per class."""
    from rich.console import Console

    from houndsight.reporting.compare import compare_runs

    comparison = compare_runs(run_a, run_b)
    failed = fail_below is not None and comparison.is_below(fail_below)
    if as_json:
        verdict = {"fail_below": fail_below, "failed": failed}
        typer.echo(json.dumps(comparison.to_json() | verdict, allow_nan=False))
    else:
        _print(comparison, Console(highlight=False))
    if failed:
        typer.secho(
            f"houndsight: B's top-1 minus A's is {100 * comparison.top1.difference:+.2f} points, "
            f"below the {fail_below:+g} asked for.",
            fg="red",
            err=True,
        )
        raise typer.Exit(EXIT_BELOW)


def _print(comparison: Comparison, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    for note in comparison.notes:
        console.print(f"[yellow]![/yellow] {escape(note)}")
    names = f"A = {comparison.run_a}, B = {comparison.run_b}"
    table = Table(
        title=f"{escape(names)}, {plural(comparison.count, 'test photo')}", title_justify="left"
    )
    for heading in ("", "A", "B", "B - A", "95 % interval"):
        table.add_column(heading, justify="left" if not heading else "right")
    top1, nll = comparison.top1, comparison.nll
    table.add_row(
        "top-1",
        f"{top1.a:.1%}",
        f"{top1.b:.1%}",
        f"{100 * top1.difference:+.2f} points",
        f"{100 * top1.low:+.2f} to {100 * top1.high:+.2f}",
    )
    if nll is not None:
        interval = f"{nll.low:+.4f} to {nll.high:+.4f}"
        table.add_row("nll", f"{nll.a:.4f}", f"{nll.b:.4f}", f"{nll.difference:+.4f}", interval)
    console.print(table)
    console.print(
        f"B has {plural(comparison.gained, 'photo')} right that A has wrong, and "
        f"{comparison.lost} wrong that A has right (exact McNemar p = {comparison.p_value:.3g})."
    )
    _print_classes(comparison, console)


def _print_classes(comparison: Comparison, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    changed = [each for each in comparison.classes if each.top1.difference]
    if not changed:
        console.print("No class has another top-1.")
        return
    table = Table(title="Top-1 by class, largest change first", title_justify="left")
    for heading in ("class", "photos", "A", "B", "B - A", "p"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for each in changed[:SHOWN_CLASSES]:
        table.add_row(
            escape(each.name),
            str(each.count),
            f"{each.top1.a:.0%}",
            f"{each.top1.b:.0%}",
            f"{100 * each.top1.difference:+.1f}",
            f"{each.p_value:.3f}",
        )
    console.print(table)
    if len(changed) > SHOWN_CLASSES:
        console.print(f"and {len(changed) - SHOWN_CLASSES} more; --json has them all.")
