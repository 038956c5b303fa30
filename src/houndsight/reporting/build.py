"""A run folder made into a `Document`."""

from __future__ import annotations

from datetime import datetime

from houndsight.reporting.document import Document, Figure, Figures, Section
from houndsight.reporting.insights import judge
from houndsight.reporting.measurements import Measurements, mapping, read_measurements
from houndsight.reporting.sections import SECTIONS
from houndsight.reporting.standing import standing
from houndsight.reporting.text import clean, percent, percent_range
from houndsight.runs import Run, RunStatus
from houndsight.wording import duration, plural

__all__ = ["build_document"]


def build_document(run: Run) -> Document:
    """Everything worth telling about `run`, live or long afterwards.

    Parts that are missing are named in `Document.missing`; nothing but the folder is read.
    """
    m = read_measurements(run)
    sections = tuple(s for make in SECTIONS if (s := make(m)) is not None)
    return Document(
        title=_title(m),
        subtitle=_subtitle(m),
        verdict=judge(m),
        figures=Figures(items=tuple(_figures(m))),
        sections=sections,
        made=_made(run.created),
        missing=tuple(_missing(m, sections)),
    )


def _title(m: Measurements) -> str:
    source = clean(mapping(m.results.get("data")).get("source") or "", limit=300)
    parts = [part for part in source.replace("\\", "/").split("/") if part]
    if len(parts) > 1 and parts[-1].lower().endswith((".csv", ".parquet")):
        parts.pop()  # what a table of labels is called says less than its folder
    return clean(parts[-1] if parts else m.run.folder.name, limit=80)


def _subtitle(m: Measurements) -> str:
    total = sum(int(c.sum()) for c in m.counts.values())
    backbone = mapping(m.results.get("backbone")).get("name") or m.plan.get("backbone")
    told = [
        plural(len(m.classes), "class", "classes") if m.classes else "",
        plural(total, "photo") if total else "",
        clean(backbone, limit=60) if backbone else "",
        clean(m.results.get("model") or "", limit=40),
    ]
    return " · ".join(filter(None, told))


def _figures(m: Measurements) -> list[Figure]:
    s, figures = standing(m), m.metrics(m.headline)
    items = []
    if s is not None:
        interval = f"95\u00a0% interval {percent_range(s.low, s.high)}"
        items.append(Figure(label="Top-1", value=percent(s.top1), detail=interval))
    if "top5" in figures and len(m.classes) > 5:
        items.append(Figure(label="Top-5", value=percent(figures["top5"])))
    for key, label, detail in (
        ("balanced_accuracy", "Balanced accuracy", "every class counts the same"),
        ("macro_f1", "Macro-F1", "mean over classes"),
        ("ece", "Calibration error", "confidence against share right"),
    ):
        if key in figures:
            items.append(Figure(label=label, value=percent(figures[key]), detail=detail))
    total = m.run.seconds
    if total:
        stages = plural(len(m.stages), "stage")
        items.append(Figure(label="Time", value=duration(total), detail=f"in {stages}"))
    return items


def _made(created: str) -> str:
    try:
        return datetime.fromisoformat(created).strftime("%-d %B %Y, %H:%M UTC")
    except ValueError:
        return clean(created, limit=40)


def _missing(m: Measurements, sections: tuple[Section, ...]) -> list[str]:
    """What is missing, where a complete run would have it."""
    told = list(m.missing)
    if m.status == RunStatus.COMPLETED and not m.results.get("metrics"):
        told.append("run.json holds no metrics.")
    if not any(s.id == "photos" for s in sections) and m.predictions is not None:
        told.append("No photo stands out, or no thumbnails were written.")
    if not m.finished:
        stands = {"stopped": "was stopped", "failed": "failed"}.get(m.status, "is still running")
        done = plural(len(m.stages), "stage is", "stages are")
        told.insert(0, f"The run {stands}: {done} finished, what later ones add is left out.")
    return told
