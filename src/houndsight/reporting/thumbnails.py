"""Small pictures of the photos worth looking at, and which photos these are."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from houndsight.errors import DataError
from houndsight.files import write_atomic
from houndsight.reporting.measurements import Predictions, as_predictions
from houndsight.runs import Run

__all__ = [
    "EDGE_PX",
    "worst_mistakes",
    "worst_rows",
    "write_thumbnails",
]

EDGE_PX = 160
MOST = 24


class Photos(Protocol):
    """Ids and paths of photos, as `data.Split` has them."""

    @property
    def ids(self) -> NDArray[np.int64]: ...
    def paths(self) -> Sequence[Path]: ...


def write_thumbnails(run: Run, photos: Photos, ids: Iterable[int]) -> list[int]:
    """Write `images/photo-<id>.jpg`, at most 160 px an edge, for those `ids` that are in `photos`.

    Returns the ids that now have one: a photo that cannot be read is left out.
    """
    from houndsight.data.decode import open_image

    place = {int(photo): index for index, photo in enumerate(photos.ids)}
    paths, written = photos.paths(), []
    limit = round(float(run.config.get("data", {}).get("max_megapixels", 100)) * 1e6)
    for photo in dict.fromkeys(int(i) for i in ids):
        target = run.images / f"photo-{photo}.jpg"
        if photo not in place:
            continue
        if not target.exists():
            try:
                image = open_image(paths[place[photo]], max_pixels=limit)
            except (DataError, OSError):
                continue
            write_atomic(target, small_jpeg(image))
        written.append(photo)
    return written


def small_jpeg(image: Image.Image, edge: int = EDGE_PX) -> bytes:
    """`image` as a JPEG of at most `edge` px, without metadata such as places and times."""
    small = image.convert("RGB")
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    clean, buffer = Image.new("RGB", small.size), io.BytesIO()
    clean.paste(small)
    clean.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def worst_mistakes(predictions: pa.Table, *, most: int = MOST) -> list[int]:
    """Ids of the photos that are wrong with the highest confidence, the surest first.

    `predictions` has the columns of `predictions.parquet`. Test photos are taken where there are
    any, else validation, else all.
    """
    rows = _evaluated(as_predictions(predictions))
    return [int(i) for i in rows.ids[worst_rows(rows, most=most)]]


def worst_rows(rows: Predictions, *, most: int = MOST) -> NDArray[np.int64]:
    """Row numbers of the surest mistakes."""
    wrong = np.flatnonzero(rows.labels != rows.predicted)
    return wrong[np.argsort(-rows.confidence[wrong], kind="stable")][:most]


def _evaluated(rows: Predictions) -> Predictions:
    for split in ("test", "valid"):
        if (rows.splits == split).any():
            return rows.of(split)
    return rows
