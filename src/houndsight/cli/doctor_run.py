"""What `houndsight doctor` can do for a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from houndsight.debugger.doctor.copying import Place

__all__ = ["of_run"]

NEED_THE_SCRIPT = (
    "learning-rate range test",
    "overfitting a single batch",
    "forward pass in the other mode",
    "50 steps of the repaired recipe beside the own one",
)


def of_run(folder: Path, console: Console) -> tuple[Place | None, Path]:
    """The script that a watched run was made by; without one, says what needs it.

    Raises:
        RunError: it is no run folder.
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
    console.print("\nThese checks need the script that trained:")
    for check in NEED_THE_SCRIPT:
        console.print(f"  · {check}")
    console.print("Name it: houndsight doctor SCRIPT.py -- ARGS", soft_wrap=True)
    return None, folder
