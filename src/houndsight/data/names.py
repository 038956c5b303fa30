"""Readable names for class folders: `n02085620-German_shepherd` is shown as `German shepherd`."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ClassName", "readable_names"]

_WORDNET = re.compile(r"n\d{8}[-_. ]+(?=.)")
_PADDED = re.compile(r"\d{3,}\.\s*(?=.*[^\W\d_])")
"""`001.Affenpinscher`, as in CUB-200 and the dog breeds of 133 classes."""
_NUMBERED = re.compile(r"\d+[-_. ]+(?=.*[^\W\d_])")
"""`7_segment` would lose its meaning, so this one goes only where every class has it."""


@dataclass(frozen=True)
class ClassName:
    """A class: `name` is shown to people, `original` is what the folder or table says."""

    name: str
    original: str


def readable_names(originals: Sequence[str]) -> tuple[ClassName, ...]:
    """A readable name for each class, all different.

    Catalogue numbers in front go, underscores become spaces. Where two classes would read the
    same, they keep what their folders say.

    Args:
        originals: the classes' own names, all different, in the order of their indices.
    """
    numbered = len(originals) > 1 and all(_NUMBERED.match(name) for name in originals)
    names = [_clean(_strip(name, numbered)) for name in originals]
    counts = Counter(name.casefold() for name in names)
    names = [
        name if counts[name.casefold()] == 1 else _printable(original)
        for name, original in zip(names, originals, strict=True)
    ]
    return tuple(
        ClassName(name, original)
        for name, original in zip(_numbered_apart(names), originals, strict=True)
    )


def _strip(name: str, numbered: bool) -> str:
    for pattern in (_WORDNET, _PADDED, *([_NUMBERED] if numbered else [])):
        if match := pattern.match(name):
            return name[match.end() :]
    return name


def _clean(name: str) -> str:
    return " ".join(_printable(name).replace("_", " ").split()) or _printable(name)


def _printable(name: str) -> str:
    """`name` without characters that would steer a terminal or turn text round."""
    composed = unicodedata.normalize("NFC", name)
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c).startswith("C") else c
        for c in composed
    )
    return " ".join(shown.split()) or "(blank)"


def _numbered_apart(names: Sequence[str]) -> list[str]:
    """The names with a number behind those that stand there twice, none of which is taken."""
    taken = set(names)
    seen: set[str] = set()
    apart = []
    for name in names:
        candidate, number = name, 1
        while candidate in seen or (number > 1 and candidate in taken):
            number += 1
            candidate = f"{name} ({number})"
        seen.add(candidate)
        apart.append(candidate)
    return apart
