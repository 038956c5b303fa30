"""A copy of a script's folder to run it in, so that nothing of the person's is written over."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from houndsight.errors import SettingError

__all__ = ["Place", "copy_place", "find_place"]

FILE_BYTES = 32_000_000
TOTAL_BYTES = 512_000_000
LEFT_OUT = {"__pycache__", "node_modules", "runs", "venv", "wandb", "mlruns", "lightning_logs"}
"""Folders that no script needs to begin; hidden ones are left out too."""


@dataclass(frozen=True)
class Place:
    """Where a script runs: a folder that is copied, and the command relative to it."""

    root: Path
    script: Path
    """Relative to `root`."""
    command: tuple[str, ...]
    """With the script's path relative to `root`."""
    linked: tuple[str, ...] = field(default=())
    """Files too large to copy, which the copy links to."""


def find_place(command: list[str], cwd: Path) -> Place:
    """The place of a script that is started with `command` in `cwd`.

    Raises:
        SettingError: no Python script is named in the command, or it is not there.
    """
    named = [word for word in command if word.endswith(".py")]
    if not named:
        raise SettingError(f"{' '.join(command)} names no Python script (….py).")
    script = (cwd / named[0]).resolve()
    if not script.is_file():
        raise SettingError(f"There is no script {named[0]} in {cwd}.")
    whole = cwd.resolve()
    inside = script.is_relative_to(whole) and whole not in (Path.home(), Path(whole.anchor))
    root = whole if inside else script.parent
    relative = script.relative_to(root)
    words = [str(relative) if word == named[0] else word for word in command]
    return Place(root, relative, tuple(words))


def copy_place(place: Place, into: Path) -> Place:
    """The same place in a copy; files that are too large are links."""
    left, linked = TOTAL_BYTES, []
    for folder, folders, files in os.walk(place.root):
        folders[:] = [f for f in folders if f not in LEFT_OUT and not f.startswith(".")]
        here = into / Path(folder).relative_to(place.root)
        here.mkdir(parents=True, exist_ok=True)
        for name in files:
            source = Path(folder) / name
            try:
                size = source.stat().st_size
                if source.is_file() and size <= min(FILE_BYTES, left):
                    shutil.copy2(source, here / name)
                    left -= size
                else:
                    (here / name).symlink_to(source.resolve())
                    linked.append(str(source.relative_to(place.root)))
            except OSError:
                continue
        # A folder that is a link, to data elsewhere, stays one.
        for name in [f for f in folders if (Path(folder) / f).is_symlink()]:
            folders.remove(name)
            (here / name).symlink_to((Path(folder) / name).resolve())
    return Place(into, place.script, place.command, tuple(linked))
