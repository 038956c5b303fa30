"""Numbers and names as a person reads them."""

from __future__ import annotations

import math
import re
import unicodedata

__all__ = [
    "NONE",
    "clean",
    "count",
    "measure",
    "percent",
    "percent_range",
    "rule_words",
    "said",
    "shorten",
    "sorted_out",
    "unique",
]

NONE = "\N{EN DASH}"


def clean(text: object, *, limit: int = 300) -> str:
    """`text` fit for any page: one line, no control or direction-override characters, no
    halves of characters that a file name in another encoding leaves, at most `limit` long.
    """
    shown = "".join(_shown(character) for character in str(text)[: 4 * limit])
    return shorten(" ".join(shown.split()), limit)


def said(text: object, *, limit: int = 300) -> str:
    """A finding's sentence, clean, its percentages written as everywhere in the report."""
    return _PERCENT.sub("\u00a0%", clean(text, limit=limit))


_PERCENT = re.compile(r"(?<=\d) ?%(?![0-9A-Za-z])")


def _shown(character: str) -> str:
    if character in "\t\n\r":
        return " "
    # Cc control, Cs half a surrogate pair; then the overrides that make a name read backwards
    # and what no XML, and so no SVG, may hold.
    if unicodedata.category(character) in ("Cc", "Cs") or character in _FORBIDDEN:
        return "\N{REPLACEMENT CHARACTER}"
    return character


_FORBIDDEN = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufffe\uffff")


def shorten(text: str, limit: int) -> str:
    """`text`, its middle left out when it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    head = (limit - 1) * 2 // 3
    return f"{text[:head].rstrip()}…{text[len(text) - (limit - 1 - head) :].lstrip()}"


def percent(share: float | None, digits: int = 1) -> str:
    """0.8423 as `84.2 %`."""
    if share is None or not math.isfinite(share):
        return NONE
    return f"{100 * share:.{digits}f}\u00a0%"


def percent_range(low: float, high: float) -> str:
    """0.81, 0.88 as `81.0 to 88.0 %`."""
    return f"{100 * low:.1f} to {percent(high)}"


def measure(value: object, digits: int = 3) -> str:
    """A figure without a unit: 0.4917 as `0.492`, 0.00031 in scientific notation."""
    if value is None:
        return NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e6 and abs(value) >= 1):
        return count(int(value))
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return _scientific(value, max(digits - 2, 1))
    # Small figures keep as many digits that say something as larger ones.
    leading = max(-math.floor(math.log10(abs(value))) - 1, 0) if value else 0
    return f"{value:.{digits + min(leading, 2)}f}".replace("-", "\N{MINUS SIGN}")


def _scientific(value: float, digits: int) -> str:
    """0.00031 as 3.1 times ten to the power of minus four, raised figures and all."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}\N{MULTIPLICATION SIGN}10{raised}".replace("-", "\N{MINUS SIGN}")


def count(number: int) -> str:
    """12345 as `12,345`."""
    return f"{number:,}".replace("-", "\N{MINUS SIGN}")


_WORD_STARTS = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"


def rule_words(rule: str) -> str:
    """A rule's name in words: `DuplicatesAcrossSplits` as `Duplicates across splits`."""
    words = re.sub(_WORD_STARTS, " ", clean(rule, limit=80)).split()
    return " ".join(w if i == 0 or w.isupper() else w.lower() for i, w in enumerate(words))


def sorted_out(names: list[str], most: int = 3) -> str:
    """A few names as a list in a sentence: `A, B and C`, `A, B, C and 7 more`."""
    shown = [shorten(name, 40) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {count(len(names) - most)} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]])) if shown else ""


def unique(names: list[str], limit: int = 28) -> list[str]:
    """The names cut to `limit` characters, numbered where cutting made two the same."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        short = shorten(name, limit)
        seen[short] = seen.get(short, 0) + 1
        told.append(short if seen[short] == 1 else f"{short} ({seen[short]})")
    return told
