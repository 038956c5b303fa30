"""Which classes are confused, and how good each is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from houndsight.reporting.charts import confusion_map
from houndsight.reporting.charts.confusion import NAMED_CLASSES
from houndsight.reporting.classes import (
    ClassFigures,
    ConfusedPair,
    class_figures,
    confused_pairs,
    confusion_matrix,
)
from houndsight.reporting.document import Block, Cell, Chart, Column, Section, Table
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.text import count, percent, shorten, unique

__all__ = ["classes"]

_READING = (
    "Rows are true classes, columns predicted ones; the stronger the colour, the larger the share "
    "of the row."
)
_POINTING = "Point at a cell to read its classes."


def classes(m: Measurements) -> Section | None:
    """The confusion matrix, the most confused pairs and the table of classes."""
    rows = m.evaluated()
    if rows is None or len(m.classes) < 2:
        return None
    matrix = confusion_matrix(rows, len(m.classes))
    figures = class_figures(matrix)
    blocks: list[Block] = [_map(m, matrix)]
    pairs = confused_pairs(matrix)
    if pairs and len(m.classes) > 2:
        blocks.append(_pairs(m, pairs))
    blocks.append(_table(m, figures))
    return Section(id="classes", title="Classes", blocks=tuple(blocks), lead=_lead(m, figures))


def _map(m: Measurements, matrix: NDArray[np.int64]) -> Chart:
    size = len(m.classes)
    right = int(matrix.diagonal().sum())
    return Chart(
        id="confusion",
        title="Confusion matrix",
        spec=confusion_map(matrix, unique(list(m.classes), 24)),
        alt=f"Of {count(int(matrix.sum()))} photos {count(right)} lie on the diagonal, where the "
        "predicted class is the true one.",
        caption="Rows are true classes, columns predicted ones; the stronger the "
        "colour, the larger the share of the row."
        + ("" if size <= NAMED_CLASSES else " Point at a cell to read its classes."),
        height=max(70 - 4 * size, 32) * size + 130 if size <= NAMED_CLASSES else 620,
        max_width=max(96 - 5 * size, 40) * size + 180 if size <= NAMED_CLASSES else 620,
    )


def _pairs(m: Measurements, pairs: list[ConfusedPair]) -> Table:
    return Table(
        caption="Most confused pairs",
        columns=(
            Column(title="True class"),
            Column(title="Taken for"),
            Column(title="Photos", numeric=True),
            Column(title="Of that class", numeric=True, bar=True),
        ),
        rows=tuple(
            (
                Cell(text=m.class_name(p.true)),
                Cell(text=m.class_name(p.predicted)),
                Cell(text=count(p.count), value=p.count),
                Cell(text=percent(p.share, 0), value=p.share),
            )
            for p in pairs
        ),
        sortable=True,
    )


def _table(m: Measurements, figures: list[ClassFigures]) -> Table:
    ordered = sorted(figures, key=lambda f: (f.f1 if f.f1 is not None else 2.0, -f.count))
    return Table(
        caption="Every class, the weakest first",
        columns=(
            Column(title="Class"),
            Column(title="Photos", numeric=True),
            Column(title="Precision", numeric=True),
            Column(title="Recall", numeric=True),
            Column(title="F1", numeric=True, bar=True),
        ),
        rows=tuple(
            (
                Cell(text=m.class_name(f.index)),
                Cell(text=count(f.count), value=f.count),
                *(Cell(text=percent(v), value=v) for v in (f.precision, f.recall, f.f1)),
            )
            for f in ordered
        ),
        sortable=True,
        note="Precision: of the photos given this name, the share that deserve it. Recall: of the "
        "photos of this class, the share found. F1 joins both.",
    )


def _lead(m: Measurements, figures: list[ClassFigures]) -> str:
    known = [f for f in figures if f.f1 is not None and f.count]
    if not known:
        return ""
    worst, best = min(known, key=lambda f: f.f1 or 0), max(known, key=lambda f: f.f1 or 0)
    low, high = (shorten(m.class_name(f.index), 48) for f in (worst, best))
    return f"F1 runs from {percent(worst.f1)} for “{low}” to {percent(best.f1)} for “{high}”."
