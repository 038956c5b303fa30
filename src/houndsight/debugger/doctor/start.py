"""Run a script afresh in a copy of its folder, with a time limit: to record, then to examine."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from houndsight.debugger.doctor.copying import Place, copy_place
from houndsight.debugger.watch.launch import Watch
from houndsight.debugger.watch.orders import Orders
from houndsight.errors import RunError
from houndsight.findings import Finding

__all__ = ["Examined", "examine_script", "record_script"]

SLACK = 3.0
"""Trials have their own limits; the whole process has this many times as long as all of them."""
TRIALS = 8
SHOWN_LINES = 12


@dataclass(frozen=True)
class Examined:
    """What came of running a script under examination."""

    verdict: Mapping[str, Any]
    """What stands in `doctor.json`; empty when the script came to no training."""
    reason: str
    """Why it did not, with the last lines that the script printed."""
    linked: tuple[str, ...] = ()


def record_script(
    place: Place,
    folder: Path,
    tell: Callable[[Path, Finding], None],
    *,
    seconds: float,
    rules: str = "default",
) -> str:
    """Watch the script for a while; its run is `folder`. Returns why nothing was seen, or nothing.

    Raises:
        RunError: the folder holds a run already.
    """
    orders = Orders(folder=str(folder.resolve()), rules=rules)
    with _copied(place) as copied:
        watch = Watch(copied.command, orders, cwd=copied.root, origin=place.root)
        log = folder / "logs" / "script.log"
        with log.open("wb") as file:
            watch.follow(tell, limit_s=seconds, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        why = watch.why_nothing()
    return f"{why}{_last_lines(log)}" if why else ""


def examine_script(
    place: Place,
    folder: Path,
    causes: Sequence[Mapping[str, Any]],
    *,
    seconds: float,
    steps: int = 50,
) -> Examined:
    """Start the script afresh, take what it trains and try checks and repairs on it.

    Args:
        place: of the script.
        folder: a run folder for it, which must not hold a run yet.
        causes: `{"name", "change"}`, the likeliest first.
        seconds: how long each trial may take.
        steps: how many of the script's steps are taken, and how many a trial has.
    """
    probe = {"causes": list(causes), "seconds": seconds, "steps": steps}
    orders = Orders(folder=str(folder.resolve()), rules="none", probe=probe)
    with _copied(place) as copied:
        watch = Watch(copied.command, orders, cwd=copied.root)
        log = folder / "logs" / "script.log"
        with log.open("wb") as file:
            watch.follow(
                lambda *_: None,
                limit_s=SLACK * TRIALS * seconds,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        why = watch.why_nothing() or "The script ended before its first step."
    try:
        verdict = json.loads((folder / "doctor.json").read_text())
    except (OSError, ValueError):
        return Examined({}, f"{why}{_failure(folder)}{_last_lines(log)}", copied.linked)
    return Examined(verdict, "", copied.linked)


@contextmanager
def _copied(place: Place) -> Iterator[Place]:
    # A process of the script may still write while its folder goes.
    with tempfile.TemporaryDirectory(prefix="houndsight-", ignore_cleanup_errors=True) as folder:
        yield copy_place(place, Path(folder) / place.root.name)


def _failure(folder: Path) -> str:
    from houndsight.runs import Run

    try:
        failed = [f.title for f in Run.open(folder).findings() if f.rule == "HookFailed"]
    except RunError:
        return ""
    return f" {failed[0]}" if failed else ""


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").rstrip().splitlines()[-SHOWN_LINES:]
    return (
        "\nThe script's last lines:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
    )
