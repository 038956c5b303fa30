"""Pretrained weights without network: a job's own `TORCH_HOME`, filled with links.

`torchvision.models.resnet50(pretrained=True)` looks for `hub/checkpoints/resnet50-0676ba61.pth`.
What is linked there are the files of `HOUNDSIGHT_WEIGHTS`, those in the person's own torch cache,
and what earlier jobs have downloaded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from houndsight.config import cache_home
from houndsight.jobs.container.clone import clone_file

__all__ = ["keep_downloads", "make_torch_home"]

STAND_INS = (
    ("resnet50-19c8e357.pth", "resnet50-0676ba61.pth"),
    ("resnet18-5c106cde.pth", "resnet18-f37072fd.pth"),
)
"""Pairs of files with the same weights (torchvision's IMAGENET1K_V1, saved again in 2021)."""

_HASHED = re.compile(r"[\w.+-]+-([0-9a-f]{8,64})\.pth")


def make_torch_home(folder: Path) -> Path:
    """Make `folder` a `TORCH_HOME` that has all weights at hand."""
    checkpoints = folder / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    for path in _files():
        _link(checkpoints / path.name, path)
    for names in STAND_INS:
        for name, other in (names, names[::-1]):
            if (checkpoints / other).exists():
                _link(checkpoints / name, (checkpoints / other).resolve())
    return folder


def keep_downloads(folder: Path) -> list[Path]:
    """Keep what a job has downloaded, if it is what its name says, for the jobs after it.

    torch names such a file by the beginning of its SHA-256; a script may have put anything there.
    """
    kept = []
    for path in (folder / "hub" / "checkpoints").glob("*.pth"):
        named = _HASHED.fullmatch(path.name)
        target = _downloads() / path.name
        if named is None or path.is_symlink() or target.exists():
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest.startswith(named[1]):
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_suffix(f".{os.getpid()}.part")
            clone_file(path, aside)
            aside.replace(target)
            kept.append(target)
    return kept


def _downloads() -> Path:
    return cache_home() / "torch-checkpoints"


def _files() -> Iterator[Path]:
    """Weights files at hand, the strongest source first."""
    named = os.environ.get("HOUNDSIGHT_WEIGHTS")
    torch_home = os.environ.get("TORCH_HOME") or "~/.cache/torch"
    places = [Path(named).expanduser()] if named else []
    places += [Path(torch_home).expanduser() / "hub" / "checkpoints", _downloads()]
    for place in places:
        if place.is_file():
            yield place.absolute()
        elif place.is_dir():
            found = (p for p in sorted(place.iterdir()) if p.suffix in (".pth", ".pt"))
            yield from (path.absolute() for path in found if path.is_file())


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() and not link.exists():
        link.symlink_to(target)
