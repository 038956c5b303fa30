"""The last stage: pictures of what matters, and the report."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from houndsight.data.decode import PhotoError, decode
from houndsight.data.folder import ImageFolder, Split
from houndsight.files import write_atomic
from houndsight.models.classifier import Classifier
from houndsight.reporting import write_report
from houndsight.reporting.doubt import doubtful_labels
from houndsight.reporting.thumbnails import worst_mistakes, write_thumbnails
from houndsight.stages.context import Context
from houndsight.training.gradcam import grad_cam, overlay

__all__ = ["report"]

ATTENTION_PHOTOS = 8
"""How many photos get a Grad-CAM picture: half of them mistakes, half of them right."""
THUMBNAILS = 24


def report(context: Context, photos: ImageFolder, classifier: Classifier) -> None:
    """Write thumbnails, Grad-CAM pictures, `report.html` and `report.pdf`."""
    with context.stage("report", "Writing the report", unit="files") as outcome:
        predictions = pq.read_table(context.run.predictions)
        everything = photos.all()
        mistakes = worst_mistakes(predictions, most=THUMBNAILS)
        doubtful = doubtful_labels(context.run, most=THUMBNAILS)
        attention = _attention_ids(predictions, mistakes)
        write_thumbnails(context.run, everything, [*mistakes, *doubtful, *attention])
        _write_attention(context, everything, classifier, attention)
        pages = write_report(context.run, pdf=context.config.run.pdf)
        outcome.text = f"Wrote {' and '.join(page.name for page in pages)}"


def _attention_ids(predictions: object, mistakes: list[int]) -> list[int]:
    """The surest mistakes and the surest right answers of different classes."""
    ids, labels, predicted, confidence = (
        np.asarray(predictions.column(name))  # type: ignore[attr-defined]
        for name in ("id", "class_index", "predicted", "confidence")
    )
    right = np.flatnonzero(labels == predicted)
    right = right[np.argsort(-confidence[right], kind="stable")]
    _, first = np.unique(labels[right], return_index=True)
    chosen = right[np.sort(first)][: ATTENTION_PHOTOS // 2]
    return [*mistakes[: ATTENTION_PHOTOS - len(chosen)], *(int(ids[row]) for row in chosen)]


def _write_attention(
    context: Context, everything: Split, classifier: Classifier, ids: list[int]
) -> None:
    """`images/gradcam-<id>.jpg`: where the evidence for the predicted class lies."""
    place = {int(photo): row for row, photo in enumerate(everything.ids)}
    paths, preprocessing = everything.paths(), classifier.backbone.preprocessing
    limit = context.config.data.max_pixels
    for photo in ids:
        target = context.run.images / f"gradcam-{photo}.jpg"
        if target.exists() or photo not in place:
            continue
        try:
            pixels = decode(paths[place[photo]], preprocessing, max_pixels=limit)
        except PhotoError:
            continue
        heat = grad_cam(classifier, pixels[None])[0]
        buffer = io.BytesIO()
        Image.fromarray(overlay(pixels, heat)).save(buffer, "JPEG", quality=85)
        write_atomic(target, buffer.getvalue())
