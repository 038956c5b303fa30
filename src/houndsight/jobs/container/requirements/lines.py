"""Reads a `requirements.txt`: nested files put in, what the host has left out, by line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.image import host_version

__all__ = ["Line", "Requirements", "normalised", "read_requirements"]

FROM_HOST = ("torch", "torchvision", "smdebug", "sagemaker")
MAX_DEPTH = 5
MAX_BYTES = 1_000_000

_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?=$|[\[<>=!~;@#\s,(])")
_NESTED = re.compile(r"(?:-r|--requirement)[\s=]\s*(.+)")
_COMMENT = re.compile(r"(^|\s)#.*$")


@dataclass(frozen=True)
class Line:
    """A requirement as written, and where."""

    text: str
    file: str
    number: int

    @property
    def name(self) -> str:
        """The package's normalised name, "" for an option, a path or a URL."""
        found = _NAME.match(self.text)
        return normalised(found[1]) if found and not self.text.startswith("-") else ""

    @property
    def is_option(self) -> bool:
        """`--extra-index-url …` and the like."""
        return self.text.startswith("-") and not self.text.startswith(("-e", "--editable"))

    @property
    def is_local(self) -> bool:
        """Whether it is a path beside the script, whose content may change."""
        return not self.name and not self.is_option and "://" not in self.text

    def __str__(self) -> str:
        return f"{self.file} line {self.number}: {self.text!r}"


@dataclass(frozen=True)
class Requirements:
    """`lines` to be installed; `notes` say what the host has instead, a sentence each."""

    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def packages(self) -> tuple[Line, ...]:
        """The lines that are no options."""
        return tuple(line for line in self.lines if not line.is_option)

    def text(self) -> str:
        """As pip reads it."""
        return "".join(f"{line.text}\n" for line in self.lines)


def normalised(name: str) -> str:
    """PEP 503: `Scikit_Learn` is `scikit-learn`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirements(path: Path, root: Path) -> Requirements:
    """Read `path`, which like all it includes must lie below `root`.

    Raises:
        ContainerError: a nested file is missing, leads out or includes itself.
    """
    lines: list[Line] = []
    notes: list[str] = []
    for line in _lines(path, root.resolve(), 0):
        provided = _from_host(line)
        if provided:
            notes.append(f"{line.file}: {line.text} is left out: {provided}")
        else:
            lines.append(line)
    return Requirements(tuple(lines), tuple(notes))


def _from_host(line: Line) -> str:
    if line.name not in FROM_HOST:
        return ""
    if line.name == "smdebug":
        return "Houndsight brings its own smdebug."
    version = host_version(line.name)
    if not version and line.name == "sagemaker":
        return ""
    return f"{line.name} {version} comes from this machine."


def _lines(path: Path, root: Path, depth: int) -> list[Line]:
    name = _name_below(path, root)
    if depth > MAX_DEPTH:
        raise ContainerError(f"{name} includes more than {MAX_DEPTH} files in one another.")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ContainerError(f"{name} is larger than {MAX_BYTES:,} bytes.")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ContainerError(f"{name} cannot be read: {error.strerror}.") from error
    found: list[Line] = []
    for number, line in _joined(text):
        nested = _NESTED.match(line)
        if nested is None:
            found.append(Line(line, name, number))
            continue
        below = (path.parent / nested[1].strip("\"' ")).resolve()
        if not below.is_relative_to(root) or not below.is_file():
            raise ContainerError(f"{name} line {number}: {line!r} is no file of the source.")
        found += _lines(below, root, depth + 1)
    return found


def _joined(text: str) -> list[tuple[int, str]]:
    """Lines without comments, those that end in a backslash joined with the next."""
    rows, begun, start = [], "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw).strip()
        start = start or number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        whole = (begun + line).strip()
        if whole:
            rows.append((start, whole))
        begun, start = "", 0
    if begun.strip():
        rows.append((start, begun.strip()))
    return rows


def _name_below(path: Path, root: Path) -> str:
    resolved = path.resolve()
    return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else path.name
