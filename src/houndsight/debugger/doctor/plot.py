"""Two curves: in the terminal as text, beside the run as an SVG file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["as_svg", "as_text"]

Values = Sequence[float | None]
WIDTH, HEIGHT = 60, 12
MARKS = "·o+x*"
COLOURS = ("#c0392b", "#1f77b4", "#2e8b57", "#8e44ad", "#d68910")
SIZE = (640, 320)
MARGIN = 46


def as_text(curves: Mapping[str, Values], *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The curves over steps, each with a mark of its own, and what the marks mean."""
    low, high = _range(curves)
    longest = max((len(v) for v in curves.values()), default=0)
    grid = [[" "] * width for _ in range(height)]
    for mark, values in zip(MARKS, curves.values(), strict=False):
        for step, value in enumerate(values):
            column = round(step * (width - 1) / max(longest - 1, 1))
            row = _row(value, low, high, height)
            if row is not None:
                grid[row][column] = mark
    labels = [f"{high:.3g}", *[""] * (height - 2), f"{low:.3g}"]
    edge = max(map(len, labels))
    lines = [f"{label:>{edge}} │{''.join(row)}" for label, row in zip(labels, grid, strict=True)]
    lines.append(f"{'':>{edge}} └{'─' * width}")
    lines.append(f"{'':>{edge}}  step 1{f'step {longest}':>{width - 6}}")
    named = [f"{mark} {name}" for mark, name in zip(MARKS, curves, strict=False)]
    return "\n".join([*lines, f"{'':>{edge}}  {'   '.join(named)}"])


def as_svg(curves: Mapping[str, Values], *, title: str) -> str:
    """The same as a picture that needs nothing else."""
    low, high = _range(curves)
    longest = max((len(v) for v in curves.values()), default=0)
    width, height = SIZE
    inner = (width - 2 * MARGIN, height - 2 * MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="20" font-weight="600">{escape(title)}</text>',
        f'<path d="M{MARGIN} {MARGIN}V{height - MARGIN}H{width - MARGIN}" fill="none" '
        'stroke="#999"/>',
        f'<text x="{MARGIN - 6}" y="{MARGIN + 4}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{MARGIN - 6}" y="{height - MARGIN}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{MARGIN}" y="{height - MARGIN + 18}">step 1</text>',
        f'<text x="{width - MARGIN}" y="{height - MARGIN + 18}" text-anchor="end">'
        f"step {longest}</text>",
    ]
    for number, (name, values) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = []
        for step, value in enumerate(values):
            share = _share(value, low, high)
            if share is not None:
                x = MARGIN + inner[0] * step / max(longest - 1, 1)
                points.append(f"{x:.1f},{height - MARGIN - inner[1] * share:.1f}")
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        x = width - MARGIN - 180
        parts.append(
            f'<text x="{x}" y="{MARGIN + 16 * number}" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _range(curves: Mapping[str, Values]) -> tuple[float, float]:
    """What is shown: from the lowest value to three times the highest first one at most."""
    finite = [v for values in curves.values() for v in values if v is not None]
    if not finite:
        return 0.0, 1.0
    firsts = [values[0] for values in curves.values() if values and values[0] is not None]
    low, high = min(finite), max(finite)
    high = min(high, 3 * max(map(abs, firsts))) if firsts else high
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _share(value: float | None, low: float, high: float) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _row(value: float | None, low: float, high: float, height: int) -> int | None:
    share = _share(value, low, high)
    return None if share is None else round((1 - share) * (height - 1))
