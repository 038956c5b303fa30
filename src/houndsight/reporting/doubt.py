"""The labels that models which had not seen the photo dispute, as the finding lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from houndsight.findings import Finding, State
from houndsight.runs import Run

__all__ = ["RULE", "DoubtedLabel", "doubted_labels", "doubtful_labels"]

RULE = "DisputedLabels"
MOST = 24


@dataclass(frozen=True, kw_only=True)
class DoubtedLabel:
    """A photo, the label it has and the one it would be given."""

    id: int
    path: str
    given: str
    suggested: str
    probability: float
    """Of the suggested label."""


def doubtful_labels(run: Run, *, most: int = MOST) -> list[int]:
    """Ids of the photos, of every split, whose label is disputed, the most doubtful first."""
    photos = pq.read_table(run.photos, columns=["id", "path"])
    return [label.id for label in doubted_labels(run.findings(), photos, most=most)]


def doubted_labels(
    findings: Sequence[Finding], photos: pa.Table | None, *, most: int = MOST
) -> list[DoubtedLabel]:
    """What the finding of disputed labels lists, with the photos' ids.

    Args:
        photos: the columns `id` and `path` of `photos.parquet`.
    """
    told = [f for f in findings if f.rule == RULE and f.state == State.OPEN]
    listed = [row for f in told for row in f.plot.get("photos", ()) if _is_whole(row)][:most]
    if photos is None or not listed:
        return []
    places = pc.index_in(pa.array([row["path"] for row in listed]), photos["path"])
    ids = photos["id"].to_numpy()
    return [
        DoubtedLabel(
            id=int(ids[place]),
            path=row["path"],
            given=row["given"],
            suggested=row["suggested"],
            probability=float(row["suggested_probability"]),
        )
        for row, place in zip(listed, places.to_pylist(), strict=True)
        if place is not None
    ]


def _is_whole(row: Any) -> bool:
    texts = ("path", "given", "suggested")
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in texts)
        and isinstance(row.get("suggested_probability"), int | float)
        and bool(np.isfinite(row["suggested_probability"]))
    )
