"""Where each model that is trained has its run folder: the first the run's own, others in it.

What is in `watched/` is part of the run for whoever reads its findings.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from houndsight.debugger.watch.orders import note
from houndsight.errors import RunError
from houndsight.runs import Run

__all__ = ["MODELS", "claim", "folders"]

MODELS = 8
"""How many models of a script are watched; a search that trains hundreds would fill the disk."""
AWAIT_SECONDS = 10.0


def claim(run: Path, number: int) -> Path | None:
    """The run folder of a process's model of that number; None when there are enough.

    Processes that train together each take the same folder, in which each has its own log;
    others take turns.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _together(run, number) if number <= MODELS else None
    for free in range(1, MODELS + 1):
        try:
            with (run / "logs" / f"model-{free}.claim").open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            continue
        return _made(run, free)
    note(run, "enough", models=MODELS)
    return None


def folders(run: Path) -> list[Path]:
    """The run folders of the models so far."""
    return [folder for n in range(1, MODELS + 1) if (folder := _folder(run, n)).exists()]


def _together(run: Path, number: int) -> Path:
    if os.environ.get("RANK", "0") == "0":
        return _made(run, number)
    folder, end = _folder(run, number), time.monotonic() + AWAIT_SECONDS
    while not (folder / "run.json").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return folder


def _made(run: Path, number: int) -> Path:
    folder = _folder(run, number)
    try:
        Run.create(folder, kind="job", config={}, parent=str(run))
    except RunError:
        # The first model's is there already.
        Run.open(folder)
    return folder


def _folder(run: Path, number: int) -> Path:
    return run if number == 1 else run / "watched" / f"model-{number}"
