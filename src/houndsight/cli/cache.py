"""`houndsight cache`: see and prune what is kept for later runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["cache"]


def cache(
    prune: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Delete this part, or `all`; finished runs stay whole."),
    ] = None,
) -> None:
    """Show the caches and their size; `--prune NAME` deletes one, `--prune all` everything."""
    from houndsight.config import cache_home
    from houndsight.errors import SettingError

    home = cache_home()
    parts = sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
    if prune is None:
        for part in parts:
            typer.echo(f"{part.name:<12} {_size_bytes(part) / 1e6:>12,.1f} MB")
        typer.echo(f"{'in all':<12} {sum(map(_size_bytes, parts)) / 1e6:>12,.1f} MB   {home}")
        return
    chosen = parts if prune == "all" else [part for part in parts if part.name == prune]
    if not chosen and prune != "all":
        names = ", ".join(part.name for part in parts) or "nothing"
        raise SettingError(f"--prune {prune}: there is no such cache; {home} holds {names}.")
    for part in chosen:
        freed = _size_bytes(part)
        shutil.rmtree(part)
        typer.echo(f"deleted {part.name}, {freed / 1e6:,.1f} MB")


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
