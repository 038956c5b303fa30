"""What was trained on what."""

from __future__ import annotations

import numpy as np

from houndsight.reporting.charts import bars
from houndsight.reporting.document import Block, Chart, Facts, Paragraph, Section
from houndsight.reporting.measurements import Measurements, mapping
from houndsight.reporting.text import clean, count, measure, unique
from houndsight.wording import duration, plural

__all__ = ["data"]

MOST_BARS = 24


def data(m: Measurements) -> Section:
    """The photos, their classes and splits, the backbone and the model."""
    blocks: list[Block] = []
    sentence = _sentence(m)
    if sentence:
        blocks.append(Paragraph(text=sentence))
    blocks.append(Facts(rows=tuple(_rows(m))))
    chart = _class_chart(m)
    if chart is not None:
        blocks.append(chart)
    return Section(id="data", title="What was trained on what", blocks=tuple(blocks))


def _sentence(m: Measurements) -> str:
    total = sum(int(c.sum()) for c in m.counts.values())
    name = mapping(m.results.get("backbone")).get("name") or m.plan.get("backbone")
    if not total or not name:
        return ""
    kinds = {"linear probe": "A linear probe on the frozen", "fine-tuned": "A fine-tuned"}
    model = kinds.get(str(m.results.get("model")), "A classifier on the")
    return (
        f"{model} {clean(name, limit=60)}, made from {plural(total, 'photo')} in "
        f"{plural(len(m.classes), 'class', 'classes')}."
    )


def _rows(m: Measurements) -> list[tuple[str, str]]:
    told, backbone = mapping(m.results.get("data")), mapping(m.results.get("backbone"))
    rows = [
        ("Photos from", clean(told.get("source") or "")),
        ("Photos used", count(int(told["photos"])) if told.get("photos") is not None else ""),
        ("Set aside", count(int(told["set_aside"])) if told.get("set_aside") is not None else ""),
        ("Splits", _splits(m)),
        ("Backbone", clean(backbone.get("name") or m.plan.get("backbone") or "")),
        ("Weights from", clean(backbone.get("source") or "")),
        ("Licence of the weights", clean(backbone.get("licence") or "")),
        ("Input", _input(m)),
        ("Planned", _plan(m)),
    ]
    return [(name, value) for name, value in rows if value]


def _splits(m: Measurements) -> str:
    if m.cross_validated:
        return "none: every photo was held out in turn, and trains the model that is shipped"
    splits = mapping(m.results.get("splits")) or {s: int(c.sum()) for s, c in m.counts.items()}
    return ", ".join(f"{s or 'all'} {count(int(n))}" for s, n in splits.items())


def _input(m: Measurements) -> str:
    given = mapping(m.results.get("preprocessing"))
    if "size" not in given:
        return ""
    fits = {"crop": "resized and cropped", "squash": "squashed", "letterbox": "letterboxed"}
    fit = fits.get(str(given.get("fit")), clean(given.get("fit", "")))
    size, filtered = given["size"], clean(given.get("filter") or "")
    edges = f"{size} \N{MULTIPLICATION SIGN} {size} px"
    return ", ".join(filter(None, (edges, fit, filtered)))


def _plan(m: Measurements) -> str:
    plan, told = m.plan, []
    if isinstance(plan.get("minutes"), int | float):
        told.append(f"within {duration(60 * plan['minutes'])}")
    if isinstance(plan.get("trials"), int):
        told.append(plural(plan["trials"], "trial"))
    if isinstance(plan.get("epochs"), int):
        epochs = plural(plan["epochs"], "epoch")
        told.append(f"{epochs} of fine-tuning" if plan["epochs"] else "no fine-tuning")
    rate = plan.get("photos_per_second")
    if isinstance(rate, int | float) and rate > 0:
        told.append(f"{measure(float(rate), 0 if rate >= 10 else 1)} photos/s measured")
    return ", ".join(told)


def _class_chart(m: Measurements) -> Chart | None:
    """Photos a class; of many classes only the largest and the smallest."""
    if not m.counts or len(m.classes) < 2:
        return None
    totals = np.sum(list(m.counts.values()), axis=0)
    order = np.argsort(-totals, kind="stable")
    shown, caption = order, ""
    if len(order) > MOST_BARS:
        half = MOST_BARS // 4
        shown = np.concatenate([order[:half], order[-half:]])
        caption = f"The {half} largest and the {half} smallest of {len(order)} classes."
        if totals[order[0]] == totals[order[-1]]:
            return None
    names = unique([m.class_name(int(i)) for i in shown])
    rows = [(n, float(totals[i]), count(int(totals[i]))) for n, i in zip(names, shown, strict=True)]
    large, small = order[0], order[-1]
    return Chart(
        id="photos-by-class",
        title="Photos by class",
        spec=bars(rows, title="photos"),
        alt=f"The largest class is {m.class_name(int(large))} with {count(int(totals[large]))} "
        f"photos, the smallest {m.class_name(int(small))} with {count(int(totals[small]))}.",
        caption=caption,
        height=27 * len(rows) + 10,
    )
