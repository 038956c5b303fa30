"""`houndsight cache`: see and prune what is kept for later runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["cache"]

FACTS = "facts"
MEANINGS = {
    "archives": "unpacked archives",
    "buckets": "copies of remote folders",
    "charts": "the script that draws a report's charts",
    "datasets": "public data sets",
    "downloads": "fetched files",
    FACTS: "what the check measured of each photo",
    "features": "what the backbones computed of each photo",
    "graphs": "backbones converted for this processor",
}


def cache(
    prune: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Delete this part, or `all`; finished runs stay whole."),
    ] = None,
) -> None:
    """Show what is kept for later runs and its size; `--prune NAME` deletes a part of it."""
    from houndsight.config import cache_home
    from houndsight.errors import SettingError
    from houndsight.wording import size

    home = cache_home()
    parts = _parts(home)
    if prune is None:
        for name, files in parts.items():
            line = f"{name:<12} {size(_size_bytes(files)):>10}   {MEANINGS.get(name, '')}"
            typer.echo(line.rstrip())
        total = sum(map(_size_bytes, parts.values()))
        typer.echo(f"{'in all':<12} {size(total):>10}   {home}")
        return
    chosen = list(parts) if prune == "all" else [name for name in parts if name == prune]
    if not chosen and prune != "all":
        names = ", ".join(parts) or "nothing"
        raise SettingError(f"--prune {prune}: there is no such cache; {home} holds {names}.")
    for name in chosen:
        freed = _size_bytes(parts[name])
        _delete(name, parts[name])
        typer.echo(f"deleted {name}, {size(freed)}")


def _parts(home: Path) -> dict[str, list[Path]]:
    """{name: what it is made of}; a folder is a part, and so are the facts' database files."""
    if not home.is_dir():
        return {}
    parts = {path.name: [path] for path in home.iterdir() if path.is_dir()}
    facts = sorted(home.glob("facts.sqlite*"))
    return dict(sorted((parts | ({FACTS: facts} if facts else {})).items()))


def _delete(name: str, paths: list[Path]) -> None:
    if name == FACTS:
        # Another process may be reading them: the rows go, the file stays.
        import sqlite3

        from houndsight.data.facts_cache import FactsCache
        from houndsight.errors import HoundsightError

        try:
            with FactsCache() as facts:
                facts.prune(0)
        except sqlite3.Error as error:
            raise HoundsightError(f"{paths[0]} is in use or damaged: {error}.") from error
        return
    for path in paths:
        shutil.rmtree(path)


def _size_bytes(paths: list[Path]) -> int:
    inside = [p for path in paths for p in ([path] if path.is_file() else path.rglob("*"))]
    return sum(path.stat().st_size for path in inside if path.is_file())
