"""The font of the report, and which scripts it leaves to the system."""

from __future__ import annotations

import functools
import struct
import unicodedata
from pathlib import Path

import typst

__all__ = ["FONT_FOLDER", "covered", "missing_scripts"]

FONT_FOLDER = Path(__file__).parent


def missing_scripts(text: str) -> list[str]:
    """The scripts in `text`, such as `Arabic` or `CJK`, that no font at hand can show.

    The report's own font is asked first; the system's only when a character is not in it.
    """
    wanted = {ord(c) for c in text if ord(c) > 0x7F and unicodedata.category(c)[0] not in "CZ"}
    wanted -= _INVISIBLE
    wanted -= _own_characters()
    if wanted:
        for path, index in _system_fonts():
            wanted -= covered(path, index)
            if not wanted:
                break
    return sorted({_script(code) for code in wanted})


_INVISIBLE = frozenset(range(0xFE00, 0xFE10)) | {0x200C, 0x200D, 0x200E, 0x200F}
"""Variation selectors and joiners: they shape their neighbours and need no glyph."""


@functools.cache
def _own_characters() -> frozenset[int]:
    return covered(FONT_FOLDER / "Inter-Regular.otf", 0)


def _system_fonts() -> list[tuple[Path, int]]:
    fonts = typst.Fonts(include_system_fonts=True, include_embedded_fonts=False).fonts()
    return [(Path(font.path), font.index) for font in fonts if font.path]


def covered(path: Path, index: int) -> frozenset[int]:
    """The code points that a font file has glyphs for, from its `cmap` table.

    Formats 4 and 12 of the OpenType specification, https://learn.microsoft.com/typography/opentype/spec/cmap.
    A file that cannot be read covers nothing.
    """
    try:
        data = path.read_bytes()
        return frozenset(_read_cmap(data, _table(data, index, b"cmap")))
    except (OSError, struct.error, IndexError, LookupError):
        return frozenset()


def _table(data: bytes, index: int, tag: bytes) -> int:
    """Where a table begins; `index` picks the font of a collection."""
    start = struct.unpack_from(">I", data, 12 + 4 * index)[0] if data[:4] == b"ttcf" else 0
    for record in range(struct.unpack_from(">H", data, start + 4)[0]):
        name, _, offset, _ = struct.unpack_from(">4sIII", data, start + 12 + 16 * record)
        if name == tag:
            return int(offset)
    raise LookupError(tag)


def _read_cmap(data: bytes, start: int) -> set[int]:
    found: set[int] = set()
    for record in range(struct.unpack_from(">H", data, start + 2)[0]):
        at = start + struct.unpack_from(">HHI", data, start + 4 + 8 * record)[2]
        form = struct.unpack_from(">H", data, at)[0]
        if form == 12:
            for group in range(struct.unpack_from(">I", data, at + 12)[0]):
                first, last, _ = struct.unpack_from(">III", data, at + 16 + 12 * group)
                found.update(range(first, min(last, 0x10FFFF) + 1))
        elif form == 4:
            pairs = struct.unpack_from(">H", data, at + 6)[0] // 2
            ends = struct.unpack_from(f">{pairs}H", data, at + 14)
            starts = struct.unpack_from(f">{pairs}H", data, at + 16 + 2 * pairs)
            for first, last in zip(starts, ends, strict=True):
                found.update(range(first, last + 1))
    return found


def _script(code: int) -> str:
    """The first word of the character's Unicode name says its script."""
    name = unicodedata.name(chr(code), "")
    if not name or unicodedata.category(chr(code)) in ("So", "Sk"):
        return "emoji and symbols"
    word = name.split()[0]
    return word if word == "CJK" else word.capitalize()
