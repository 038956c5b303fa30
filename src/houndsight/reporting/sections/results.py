"""The table of results: every figure, by split, with what it means and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from houndsight.reporting.document import Block, Cell, Column, Note, Section, Table
from houndsight.reporting.measurements import Measurements, mapping
from houndsight.reporting.standing import SPLIT_WORDS
from houndsight.reporting.text import NONE, clean, count, measure, percent, percent_range
from houndsight.wording import duration

__all__ = ["results"]

_ROWS = (
    ("top1", "Top-1", True, "right at the first answer"),
    ("top1_interval", "… 95\u00a0% interval", True, "where the true top-1 lies"),
    ("top5", "Top-5", True, "right within five answers"),
    ("balanced_accuracy", "Balanced accuracy", True, "top-1 if all classes were equally large"),
    ("macro_f1", "Macro-F1", True, "mean over classes of precision with recall"),
    ("nll", "Negative log-likelihood", False, "lower is better; punishes being sure and wrong"),
    ("ece", "Calibration error", True, "how far confidence is from the share right"),
    ("brier", "Brier score", False, "lower is better; squared error of probabilities"),
    ("count", "Photos", False, ""),
)


_COMPARED = ("nll", "top1", "balanced_accuracy", "macro_f1", "ece")
"""The figures that candidates are compared by."""


def results(m: Measurements) -> Section | None:
    """Figures by split, then what else was a candidate."""
    blocks: list[Block] = []
    splits = [s for s in mapping(m.results.get("metrics")) if m.metrics(s)]
    if splits:
        blocks += [_table(m, sorted(splits, key=_order)), Note(text=_protocol(m))]
    blocks += filter(None, (_candidates(m), _ranking(m)))
    if not blocks:
        return None
    return Section(id="results", title="Results", blocks=tuple(blocks))


def _table(m: Measurements, splits: list[str]) -> Table:
    rows = []
    for key, name, share, meaning in _ROWS:
        if key == "top5" and len(m.classes) <= 5:
            continue
        values = [m.metrics(split).get(key) for split in splits]
        if any(v is not None for v in values):
            cells = [Cell(text=_shown(v, share)) for v in values]
            rows.append((Cell(text=name), *cells, Cell(text=meaning)))
    words = {**SPLIT_WORDS, "test": "k-fold"} if m.cross_validated else SPLIT_WORDS
    titles = [words.get(split, clean(split)).capitalize() for split in splits]
    return Table(
        caption="Figures by split",
        columns=(
            Column(title="Figure"),
            *(Column(title=t, numeric=True) for t in titles),
            Column(title="What it tells"),
        ),
        rows=tuple(rows),
    )


def _shown(value: Any, share: bool) -> str:
    if isinstance(value, list | tuple):
        return percent_range(float(value[0]), float(value[1]))
    if value is None:
        return NONE
    return percent(float(value)) if share else measure(value)


def _protocol(m: Measurements) -> str:
    """Which figure comes from which protocol."""
    protocol = clean(m.results.get("protocol") or "", limit=200)
    if "fold" in protocol:
        return (
            f"The figures come from {protocol}: every photo is judged by models that have not seen "
            "it, each tuned on its own training part. The model that is shipped is one more fit, "
            "on all photos with the chosen settings, and is not itself measured." + _averaged(m)
        )
    known = f" ({protocol})" if protocol else ""
    if m.headline == "test":
        return (
            f"The test figures{known} were taken once, after everything was chosen. Validation "
            "figures were used for choosing and are therefore a little too good"
            + (
                "; training figures show only how well the model fits what it has seen."
                if m.metrics("train")
                else "."
            )
        )
    return (
        f"These are {SPLIT_WORDS.get(m.headline, m.headline)} figures{known}; there is no test "
        "figure, so they may be too good."
    )


def _averaged(m: Measurements) -> str:
    """Why what is told of single photos and classes does not add up to the figures."""
    top1, rows = m.metrics(m.headline).get("top1"), m.evaluated()
    if top1 is None or rows is None:
        return ""
    share = float((rows.labels == rows.predicted).mean())
    if abs(share - float(top1)) < 5e-4:
        return ""
    return (
        f" Top-1 is the mean over the repeats, {percent(float(top1))}; the tables of classes and "
        "photos below average the probabilities of all repeats for each photo first, which is "
        f"right on {percent(share)}."
    )


def _candidates(m: Measurements) -> Table | None:
    """The models that were trained, the one kept stressed."""
    rows = [r for r in m.results.get("candidates") or [] if isinstance(r, Mapping)]
    if len(rows) < 2:
        return None
    kept = m.results.get("model")
    keys = [k for k in rows[0] if k != "model" and k.split(" ")[-1] in _COMPARED]
    # All are figures of the validation photos: the caption says it once.
    once = all(k.startswith("valid ") for k in keys)
    titles = [_words(k.removeprefix("valid ") if once else k) for k in keys]
    return Table(
        caption="Models that were trained, on the validation photos; the marked one was best and "
        "was kept"
        if once
        else "Models that were trained; the marked one validated best and was kept",
        columns=(Column(title="Model"), *(Column(title=t, numeric=True) for t in titles)),
        rows=tuple(
            (Cell(text=clean(r.get("model", ""))), *(Cell(text=_figure(k, r.get(k))) for k in keys))
            for r in rows
        ),
        marked=next((i for i, r in enumerate(rows) if r.get("model") == kept), None),
    )


def _ranking(m: Measurements) -> Table | None:
    """The backbones that were probed."""
    rows = [r for r in m.results.get("backbone_ranking") or [] if isinstance(r, Mapping)]
    if len(rows) < 2:
        return None
    kept = mapping(m.results.get("backbone")).get("name")
    # What no candidate has, such as a score where there was only time to time them, has no column.
    keys = [k for k in rows[0] if k != "name" and any(_tells(r.get(k)) for r in rows)][:5]
    probed = any(_tells(r.get("top1")) for r in rows)
    return Table(
        caption="Backbones probed on a part of the photos; the marked one was chosen"
        if probed
        else "Backbones at hand, timed but not probed; the marked one was chosen",
        columns=(
            Column(title="Backbone"),
            *(Column(title=_words(k), numeric=_is_numeric(rows, k)) for k in keys),
        ),
        rows=tuple(
            (Cell(text=clean(r.get("name", ""))), *(Cell(text=_figure(k, r.get(k))) for k in keys))
            for r in rows
        ),
        marked=next((i for i, r in enumerate(rows) if r.get("name") == kept), None),
    )


def _tells(value: object) -> bool:
    return isinstance(value, int | float | str) and bool(value)


def _is_numeric(rows: list[Mapping[str, Any]], key: str) -> bool:
    return not any(isinstance(row.get(key), str) for row in rows)


def _figure(key: str, value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "seconds" in key:
            return duration(float(value))
        if any(word in key for word in ("top1", "top5", "accuracy", "f1", "ece")):
            return percent(float(value))
        if key.endswith("_per_second"):
            return count(round(value)) if value >= 10 else f"{value:.1f}"
        return count(value) if isinstance(value, int) else measure(value)
    return NONE if value is None else clean(value, limit=160)


def _words(key: str) -> str:
    words = clean(key, limit=60).replace("_", " ")
    for short, long in (
        ("valid", "validation"),
        ("top1", "top-1"),
        ("macro f1", "macro-F1"),
        ("nll", "negative log-likelihood"),
        ("ece", "calibration error"),
        ("seconds", "time"),
    ):
        words = words.replace(short, long)
    return words[:1].upper() + words[1:]


def _order(split: str) -> int:
    return {"test": 0, "valid": 2, "train": 3}.get(split, 1)
