"""What `houndsight doctor` can do for a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.debugger.doctor.copying import Place
    from houndsight.runs import Run

__all__ = ["of_run"]

NEED_THE_SCRIPT = (
    "learning-rate range test",
    "overfitting a single batch",
    "forward pass in the other mode",
    "50 steps of the repaired recipe beside the own one",
)


def of_run(folder: Path, console: Console, *, seconds: float) -> tuple[Place | None, Path]:
    """The script that a watched run was made by; without one, does or says all there is to.

    Args:
        folder: the run folder.
        console: where it is told.
        seconds: how long each trial may take.

    Raises:
        RunError: it is no run folder, or one of a run that fine-tuned nothing.
    """
    from houndsight.cli.diagnosis import print_diagnosis
    from houndsight.cli.findings import judge_if_never_judged
    from houndsight.debugger.doctor.copying import find_place
    from houndsight.errors import SettingError
    from houndsight.runs import Run

    run = Run.open(folder)
    judge_if_never_judged(folder)
    watched = run.config.get("watch") or {}
    if watched.get("command"):
        try:
            return find_place(list(watched["command"]), Path(watched.get("cwd") or ".")), folder
        except SettingError as error:
            console.print(f"[yellow]![/yellow] {error}", soft_wrap=True)
    print_diagnosis(run.findings(), console)
    if run.kind == "run":
        _examine_again(run, console, seconds)
        return None, folder
    console.print("\nThese checks need the script that trained:")
    for check in NEED_THE_SCRIPT:
        console.print(f"  · {check}")
    console.print("Name it: houndsight doctor SCRIPT.py -- ARGS", soft_wrap=True)
    return None, folder


def _examine_again(run: Run, console: Console, seconds: float) -> None:
    """Begin the fine-tuning of a `houndsight run` again, and name the settings that repair it."""
    from rich.markup import escape

    from houndsight.cli.doctor import STEPS, asked_of, best_trial, next_examination, print_verdict
    from houndsight.debugger.diagnosis import likely_causes
    from houndsight.reexamination import examine_run, settings_for
    from houndsight.training.recipe import Recipe

    causes = likely_causes(run.findings())
    folder = next_examination(run.folder)
    console.print(f"\n[dim]Beginning the fine-tuning again for {STEPS} steps[/dim]")
    verdict = examine_run(run.folder, folder, asked_of(causes), seconds=seconds, steps=STEPS)
    print_verdict(verdict, causes, folder, console)
    best = best_trial(verdict)
    if best is None or not best["better"]:
        return
    recipe = Recipe.from_json(run.config.get("training", {}))
    settings = settings_for(best["change"], recipe, float(verdict["rate"]))
    if settings:
        words = " ".join(f"--set {name}={value}" for name, value in settings.items())
        source = escape(str(run.config["source"]))
        console.print(f"apply it  houndsight run {source} {words}", soft_wrap=True)
