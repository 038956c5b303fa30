"""The worst mistakes, the labels worth doubting, and where the model looks."""

from __future__ import annotations

from houndsight.reporting.document import Block, Gallery, Note, Photo, Section
from houndsight.reporting.doubt import DoubtedLabel
from houndsight.reporting.measurements import Measurements, Predictions
from houndsight.reporting.text import clean, percent
from houndsight.reporting.thumbnails import worst_rows
from houndsight.wording import plural

__all__ = ["photos"]

MOST_PHOTOS = 15
MOST_ATTENTION = 8


def photos(m: Measurements) -> Section | None:
    """Galleries of the pictures that the run folder holds."""
    every, rows = m.predictions, m.evaluated()
    if every is None or rows is None:
        return None
    worst = rows.take(worst_rows(rows))
    shown = set(worst.ids[:MOST_PHOTOS].tolist())
    blocks = [
        *_mistakes(m, worst),
        *_doubted(m, [label for label in m.doubted if label.id not in shown]),
        *_attention(m, every),
    ]
    if not blocks:
        return None
    return Section(id="photos", title="Photos worth looking at", blocks=tuple(blocks))


def _mistakes(m: Measurements, rows: Predictions) -> list[Block]:
    photos = [_photo(m, rows, at, "photo") for at in range(len(rows))]
    return _gallery(
        "Worst mistakes",
        photos,
        "Wrong, the surest first. Where the model's answer looks right, the label is wrong.",
    )


def _doubted(m: Measurements, labels: list[DoubtedLabel]) -> list[Block]:
    several = len(labels) < len(m.doubted)
    return _gallery(
        "More labels to doubt" if several else "Most doubtful labels",
        [_doubted_photo(m, label) for label in labels],
        "Models that had not seen these photos, of any split, are sure of another class than the "
        "label says.",
    )


def _gallery(title: str, photos: list[Photo | None], caption: str) -> list[Block]:
    if not photos:
        return []
    shown = [photo for photo in photos if photo is not None]
    if not shown:
        return [Note(text=f"{title}: the run holds no thumbnails of these photos.")]
    return [Gallery(title=title, photos=tuple(shown[:MOST_PHOTOS]), caption=caption)]


def _attention(m: Measurements, rows: Predictions) -> list[Block]:
    at = [i for i in range(len(rows)) if _has_attention(m, int(rows.ids[i]))]
    # Mistakes first, the surest of them and of what is right before the others.
    at.sort(key=lambda i: (rows.labels[i] == rows.predicted[i], -rows.confidence[i]))
    shown = [p for i in at[:MOST_ATTENTION] if (p := _photo(m, rows, i, "gradcam"))]
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


def _doubted_photo(m: Measurements, label: DoubtedLabel) -> Photo | None:
    jpeg = m.image(f"photo-{label.id}.jpg")
    if jpeg is None:
        return None
    given, suggested = clean(label.given, limit=120), clean(label.suggested, limit=120)
    sure = percent(label.probability, 0)
    return Photo(
        jpeg=jpeg,
        alt=f"Photo labelled {given}, which looks like {suggested} with {sure} confidence",
        lines=(
            f"labelled {given}",
            f"looks like {suggested}, {sure}",
            clean(label.path, limit=120),
        ),
    )


def _photo(m: Measurements, rows: Predictions, at: int, kind: str) -> Photo | None:
    jpeg = m.image(f"{kind}-{int(rows.ids[at])}.jpg")
    if jpeg is None:
        return None
    true, told = m.class_name(int(rows.labels[at])), m.class_name(int(rows.predicted[at]))
    sure = percent(float(rows.confidence[at]), 0)
    path, right = clean(rows.paths[at], limit=120), rows.labels[at] == rows.predicted[at]
    answer = f"recognised, {sure}" if right else f"taken for {told}, {sure}"
    return Photo(
        jpeg=jpeg,
        alt=f"Photo of {true}, which the model calls {told} with {sure} confidence",
        lines=(true, answer, path),
    )
