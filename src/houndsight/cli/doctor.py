"""`houndsight doctor`: confirm what is wrong with a script's training, and repair it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.debugger.diagnosis import Diagnosis
    from houndsight.debugger.doctor.copying import Place

__all__ = ["STEPS", "asked_of", "best_trial", "doctor", "next_examination", "print_verdict"]

STEPS = 50


def doctor(
    target: Annotated[str, typer.Argument(metavar="SCRIPT|RUN", help="A script, or a run folder.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]", help="The script's own arguments.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="The run folder. Default runs/SCRIPT, or -2, -3 …"),
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="N", min=1, help="How long the script is watched at first.")
    ] = 120.0,
    trial_seconds: Annotated[
        float, typer.Option(metavar="N", min=1, help="How long each check may take.")
    ] = 60.0,
) -> None:
    """Say what is wrong with a training, try the cheap checks, and write the repair as a patch."""
    from rich.console import Console

    from houndsight.cli.doctor_run import of_run

    console = Console(highlight=False)
    if Path(target).is_dir():
        place, folder = of_run(Path(target), console, seconds=trial_seconds)
        if place is None:
            return
    else:
        place, folder = _recorded(target, arguments or [], out, seconds, console)
    causes = _diagnose(folder, console)
    _examine(place, folder, causes, trial_seconds, console)


def _recorded(
    script: str, arguments: Sequence[str], out: Path | None, seconds: float, console: Console
) -> tuple[Place, Path]:
    """Watch the script for a while in a copy of its folder.

    Raises:
        RunError: no training was seen.
    """
    import sys

    from houndsight.cli.watch import next_folder
    from houndsight.debugger.doctor.copying import find_place
    from houndsight.debugger.doctor.start import record_script
    from houndsight.errors import RunError

    place = find_place([sys.executable, script, *arguments], Path.cwd())
    folder = out or next_folder([script])
    text = f"Watching {script} for up to {seconds:.0f} s, in a copy of {place.root}; run {folder}"
    console.print(f"[dim]{text}[/dim]", soft_wrap=True)
    why = record_script(place, folder, lambda *_: None, seconds=seconds)
    if why:
        raise RunError(why)
    return place, folder


def _diagnose(folder: Path, console: Console) -> list[Diagnosis]:
    from houndsight.cli.diagnosis import print_diagnosis
    from houndsight.debugger.diagnosis import likely_causes
    from houndsight.runs import Run

    found = Run.open(folder).findings()
    console.print()
    print_diagnosis(found, console)
    return likely_causes(found)


def _examine(
    place: Place, folder: Path, causes: Sequence[Diagnosis], seconds: float, console: Console
) -> None:
    from houndsight.debugger.doctor.start import examine_script
    from houndsight.errors import RunError

    examined = next_examination(folder)
    console.print(f"\n[dim]Starting {place.script} afresh for {STEPS} steps[/dim]")
    done = examine_script(place, examined, asked_of(causes), seconds=seconds, steps=STEPS)
    if done.linked:
        console.print(f"[dim]Linked, not copied: {', '.join(done.linked[:5])}[/dim]")
    if not done.verdict:
        raise RunError(f"No check could be made. {done.reason}")
    print_verdict(done.verdict, causes, examined, console)
    _write_patch(place, done.verdict, causes, examined, console)


def asked_of(causes: Sequence[Diagnosis]) -> list[dict[str, Any]]:
    """The causes as they are tried."""
    return [{"name": d.cause.name, "change": dict(d.cause.change)} for d in causes]


def next_examination(folder: Path) -> Path:
    """The first `doctor/N` in a run folder that is not there."""
    number = 1
    while (examined := folder / "doctor" / str(number)).exists():
        number += 1
    return examined


def print_verdict(
    verdict: Mapping[str, Any], causes: Sequence[Diagnosis], folder: Path, console: Console
) -> None:
    """What each check showed, and how the repairs did beside the script's own way."""
    from rich.markup import escape

    for note in verdict["notes"]:
        console.print(f"[yellow]![/yellow] {escape(note)}", soft_wrap=True)
    if verdict["checks"]:
        console.print("[bold]Checks[/bold]")
    top = causes[0].cause.name if causes else ""
    for shown in verdict["checks"]:
        mark = {True: "[green]✓[/green]", False: "·"}[top in shown["confirms"]]
        against = " [dim](speaks against the diagnosis)[/dim]" if top in shown["refutes"] else ""
        console.print(
            f"  {mark} {shown['check']}: {escape(shown['text'])}{against}", soft_wrap=True
        )
    trials = [t for t in verdict["trials"] if "text" in t]
    if trials:
        console.print(f"[bold]Repairs[/bold] [dim]{verdict['steps']} steps beside your own[/dim]")
    for trial in verdict["trials"]:
        console.print(f"  {_told(trial)}", soft_wrap=True)
    best = best_trial(verdict)
    if best is not None:
        _draw(verdict, best, folder, console)
    console.print(f"\n[bold]Conclusion[/bold] {escape(_conclusion(best, top))}", soft_wrap=True)


def _conclusion(best: Mapping[str, Any] | None, top: str) -> str:
    if best is None:
        return "Nothing could be tried; go by the diagnosis."
    if not best["better"]:
        return "None of the repairs tried makes the first steps better; go by the checks."
    if best["cause"] == top:
        how = "the diagnosis is confirmed"
    else:
        how = "which was not the likeliest cause" if top else "though no rule had spoken of it"
    return f"{best['text']} makes it better: {how}."


def best_trial(verdict: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first repair that did better; else the first that could be tried."""
    tried = [t for t in verdict["trials"] if t.get("measured")]
    return next((t for t in tried if t["better"]), tried[0] if tried else None)


def _told(trial: Mapping[str, Any]) -> str:
    from rich.markup import escape

    from houndsight.wording import number

    name = escape(str(trial["cause"] or "a cause without a name"))
    if "failed" in trial:
        return f"[yellow]![/yellow] {name}: it could not be tried: {escape(trial['failed'])}"
    if "text" not in trial:
        return f"· {name}: some training steps cannot show its change."
    own = "infinity" if trial["own_end"] is None else number(trial["own_end"])
    end = "infinity" if trial["end"] is None else number(trial["end"])
    mark = "[green]✓[/green]" if trial["better"] else "[red]✗[/red]"
    verdict = "it helps" if trial["better"] else "it does not help by itself"
    return f"{mark} {escape(trial['text'])}: loss {end}, yours {own}; {verdict}."


def _draw(
    verdict: Mapping[str, Any], trial: Mapping[str, Any], folder: Path, console: Console
) -> None:
    from houndsight.debugger.doctor.plot import as_svg, as_text

    curves = {"yours": verdict["own"]["measured"], trial["text"]: trial["measured"]}
    console.print()
    console.print(as_text(curves), markup=False, soft_wrap=True)
    path = folder / "doctor.svg"
    path.write_text(as_svg(curves, title="Loss on the same batches, from the same weights"))
    console.print(f"curves  {path}", soft_wrap=True)


def _write_patch(
    place: Place,
    verdict: Mapping[str, Any],
    causes: Sequence[Diagnosis],
    folder: Path,
    console: Console,
) -> None:
    """Print the repair as a patch and write it beside the run."""
    from rich.markup import escape

    from houndsight.errors import MissingExtraError, require_extra

    best = best_trial(verdict)
    if best is not None and best["better"]:
        name, change = best["cause"], best["change"]
    elif not causes:
        return
    else:
        name, change = causes[0].cause.name, causes[0].cause.change
    try:
        require_extra("libcst", what="Writing the repair as a patch", extra="doctor")
    except MissingExtraError as error:
        console.print(f"[yellow]![/yellow] {escape(str(error))}", soft_wrap=True)
        return
    from houndsight.debugger.doctor.patches import propose

    source = (place.root / place.script).read_text(encoding="utf-8")
    words = list(place.command)
    given = words[words.index(str(place.script)) + 1 :]
    made = propose(source, place.script.as_posix(), name, change, given)
    if not made.diff:
        text = escape(made.reason)
        console.print(f"[yellow]![/yellow] No patch is written. {text}", soft_wrap=True)
        return
    path = folder / "doctor.patch"
    path.write_text(made.diff, encoding="utf-8")
    console.print("\n[bold]Patch[/bold]")
    console.print(made.diff.rstrip(), markup=False, soft_wrap=True)
    console.print(f"apply it  patch -p1 -d {place.root} < {path}", soft_wrap=True)
