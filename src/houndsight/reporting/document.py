"""What a report says, as typed blocks that the HTML and the PDF both show.

Every text in it is plain: no markup of any kind. What comes from a person (class names, paths,
findings) has passed `text.clean`; each renderer escapes it in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "Block",
    "Cell",
    "Chart",
    "Code",
    "Column",
    "Document",
    "Facts",
    "Figure",
    "Figures",
    "FindingGroup",
    "Findings",
    "FoldedTable",
    "Gallery",
    "Level",
    "LikelyCause",
    "LikelyCauses",
    "Note",
    "Paragraph",
    "Photo",
    "Remedy",
    "Section",
    "Table",
    "Verdict",
]

Level: TypeAlias = str
"""`good`, `soso`, `poor` or `unknown` for a verdict; `error`, `warning` or `info` for the rest."""


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Note:
    """A remark set apart: a limit of what is shown, or what is missing."""

    text: str
    level: Level = "info"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number worth showing large, with what it means beside it."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A row of numbers."""

    items: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A candidate cause, the evidence for it and the change to make."""

    cause: str
    fix: str
    evidence: str = ""


@dataclass(frozen=True, kw_only=True)
class FindingGroup:
    """All findings of one rule, told once."""

    rule: str
    level: Level
    title: str
    remedies: tuple[Remedy, ...]
    scope: str = ""
    """How far it reaches: `50 layers`, `steps 100 to 900`."""
    resolved: bool = False
    examples: tuple[str, ...] = ()
    left_out: int = 0
    """How many more examples there are."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Findings grouped by rule, gravest first."""

    groups: tuple[FindingGroup, ...]


@dataclass(frozen=True, kw_only=True)
class LikelyCause:
    """One cause behind several findings, and how likely it is."""

    cause: str
    fix: str
    evidence: str
    score: float
    """0 to 1."""
    share: str
    """The score as it is read: `72 %`."""
    explains: str
    """The rules whose findings it explains."""


@dataclass(frozen=True, kw_only=True)
class LikelyCauses:
    """The causes behind findings, the likeliest first."""

    title: str
    note: str
    causes: tuple[LikelyCause, ...]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table."""

    title: str
    numeric: bool = False
    bar: bool = False
    """Whether a thin bar shows the value, which then lies in 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: the text shown and what it is sorted by."""

    text: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; `caption` says what it shows."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = False
    note: str = ""
    marked: int | None = None
    """The row to stress, if any."""


@dataclass(frozen=True, kw_only=True)
class FoldedTable:
    """A long table that a page unfolds on demand, and of which paper shows what matters."""

    summary: str
    """What is always shown, as one line."""
    table: Table
    brief: tuple[tuple[str, str], ...]
    """What paper shows in its place: the rows worth a word, in two columns."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A Vega-Lite chart without colours of its own: they come from the page's light or dark."""

    id: str
    title: str
    spec: Mapping[str, Any]
    alt: str
    """What a person who cannot see it should know."""
    caption: str = ""
    height: int = 260
    wide: bool = True
    """Whether it takes the page's width or stands beside another."""
    min_width: int = 0
    """Below this it is scrolled, not squeezed; px."""
    max_width: int = 0
    """It is not drawn wider than this; 0 for any width; px."""


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A small JPEG with what is told about it."""

    jpeg: bytes
    alt: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Photos side by side."""

    title: str
    photos: tuple[Photo, ...]
    caption: str = ""
    large: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values."""

    rows: tuple[tuple[str, str], ...]
    title: str = ""
    folded: bool = False
    """Whether a page that can fold shows only the title at first."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Something to copy."""

    text: str
    label: str


Block: TypeAlias = (
    Paragraph
    | Note
    | Figures
    | LikelyCauses
    | Findings
    | Table
    | FoldedTable
    | Chart
    | Gallery
    | Facts
    | Code
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report with its title and an opening sentence."""

    id: str
    title: str
    blocks: tuple[Block, ...]
    lead: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the model is good, in one or two sentences, with the causes when it is not."""

    level: Level
    label: str
    text: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    verdict: Verdict
    figures: Figures
    sections: tuple[Section, ...]
    made: str
    """When the run was started, for people."""
    missing: tuple[str, ...] = field(default=())
    """What could not be read or was not there yet, as sentences."""

    def charts(self) -> list[Chart]:
        """Every chart, in order."""
        return [b for s in self.sections for b in s.blocks if isinstance(b, Chart)]
