"""How numbers, durations and sizes are said to people."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable

__all__ = ["did_you_mean", "duration", "number", "plural", "size"]


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `10 min`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest:02d} s" if rest else "")
    hours, rest = divmod(minutes, 60)
    return f"{hours} h" + (f" {rest:02d} min" if rest else "")


def number(value: float) -> str:
    """`0.0877`, `84`, `12,300`, `3e-06`: a measured value in three significant digits."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinity"
    if value == 0 or 1e-4 <= abs(value) < 999.5:
        return f"{value:.3g}"
    if 999.5 <= abs(value) < 1e7:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.1e}".replace(".0e", "e")


def size(size_bytes: float) -> str:
    """`812 bytes`, `3.4 MB`, `12 GB`, in powers of 1,000."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{size_bytes:.0f} bytes"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 photo`, `2,000 photos`; `many` where it is not `one` and an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def did_you_mean(name: str, known: Iterable[str], *, before: str = "") -> str:
    """`; did you mean tuning.trials?` where one of `known` is like `name`, else `.`.

    `before` is told before the one meant: what all of them begin with, and makes none alike.
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {before}{near[0]}?" if near else "."
