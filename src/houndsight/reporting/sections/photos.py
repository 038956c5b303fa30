"""The worst mistakes, the labels worth doubting, and where the model looks."""

from __future__ import annotations

import numpy as np

from houndsight.reporting.document import Block, Gallery, Note, Photo, Section
from houndsight.reporting.measurements import Measurements, Predictions
from houndsight.reporting.text import clean, percent
from houndsight.reporting.thumbnails import doubtful_rows, worst_rows
from houndsight.wording import plural

__all__ = ["photos"]

MOST_PHOTOS = 15
MOST_ATTENTION = 8


def photos(m: Measurements) -> Section | None:
    """Galleries of the pictures that the run folder holds."""
    every, rows = m.predictions, m.evaluated()
    if every is None or rows is None:
        return None
    worst, doubtful = rows.take(worst_rows(rows)), every.take(doubtful_rows(every))
    shown = set(worst.ids[:MOST_PHOTOS].tolist())
    others = np.array([i for i, photo in enumerate(doubtful.ids) if photo not in shown], np.int64)
    blocks = [
        *_gallery(
            m,
            worst,
            "Worst mistakes",
            "Wrong, the surest first. Where the model's answer looks right, the label is wrong.",
        ),
        *_gallery(
            m,
            doubtful.take(others),
            "More labels to doubt",
            "The model, which was not trained on these photos, is sure of another class than the "
            "label says.",
            doubt=True,
        ),
        *_attention(m, every),
    ]
    if not blocks:
        return None
    return Section(id="photos", title="Photos worth looking at", blocks=tuple(blocks))


def _gallery(
    m: Measurements, rows: Predictions, title: str, caption: str, *, doubt: bool = False
) -> list[Block]:
    shown = [p for i in range(len(rows)) if (p := _photo(m, rows, i, "photo", doubt)) is not None]
    if not len(rows):
        return []
    if not shown:
        text = f"{title}: the run holds no thumbnails of these photos."
        return [Note(text=text)]
    return [Gallery(title=title, photos=tuple(shown[:MOST_PHOTOS]), caption=caption)]


def _attention(m: Measurements, rows: Predictions) -> list[Block]:
    at = [i for i in range(len(rows)) if _has_attention(m, int(rows.ids[i]))]
    # Mistakes first, the surest of them and of what is right before the others.
    at.sort(key=lambda i: (rows.labels[i] == rows.predicted[i], -rows.confidence[i]))
    shown = [p for i in at[:MOST_ATTENTION] if (p := _photo(m, rows, i, "gradcam", False))]
    if not shown:
        return []
    caption = (
        f"Grad-CAM of {plural(len(shown), 'photo')}: warm regions spoke most for the predicted "
        "class. If they lie beside the subject, the model has learnt the background."
    )
    return [
        Gallery(title="Where the attention lies", photos=tuple(shown), caption=caption, large=True)
    ]


def _has_attention(m: Measurements, photo: int) -> bool:
    return (m.run.folder / "images" / f"gradcam-{photo}.jpg").is_file()


def _photo(m: Measurements, rows: Predictions, at: int, kind: str, doubt: bool) -> Photo | None:
    jpeg = m.image(f"{kind}-{int(rows.ids[at])}.jpg")
    if jpeg is None:
        return None
    true, told = m.class_name(int(rows.labels[at])), m.class_name(int(rows.predicted[at]))
    sure = percent(float(rows.confidence[at]), 0)
    path, right = clean(rows.paths[at], limit=120), rows.labels[at] == rows.predicted[at]
    if right:
        lines = (true, f"recognised, {sure}", path)
    elif doubt:
        lines = (f"labelled {true}", f"looks like {told}, {sure}", path)
    else:
        lines = (true, f"taken for {told}, {sure}", path)
    return Photo(
        jpeg=jpeg,
        alt=f"Photo of {true}, which the model calls {told} with {sure} confidence",
        lines=lines,
    )
