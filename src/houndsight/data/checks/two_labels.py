"""The very same photo under two labels: at least one label is wrong, and nothing says which."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos, Outcome, counted
from houndsight.findings import Cause, Finding, Severity

__all__ = ["find_two_labels"]

GRAVE = 0.05
"""From this share of the photos on, the labels as a whole are in doubt. The copies themselves are
set aside and spoil nothing."""


def find_two_labels(photos: CheckedPhotos) -> Outcome:
    """All copies of photos that stand under more than one label are set aside."""
    contents, labels = photos.contents, photos.labels
    count = int(contents.max(initial=-1)) + 1
    low = np.full(count, np.iinfo(np.int64).max)
    high = np.full(count, -1)
    np.minimum.at(low, contents, labels)
    np.maximum.at(high, contents, labels)
    rows = np.flatnonzero((low < high)[contents])
    if not len(rows):
        return Outcome()
    rows = rows[np.argsort(contents[rows], kind="stable")]
    again = np.flatnonzero(contents[rows[1:]] == contents[rows[:-1]])
    different = int((low < high).sum())
    share = len(rows) / len(photos)
    copies = "both" if len(rows) == 2 else f"all {len(rows):,}"
    classes = photos.folder.classes
    pair = [classes[labels[row]].name for row in (rows[again[0]], rows[again[0] + 1])]
    finding = Finding(
        rule="SamePhotoUnderTwoLabels",
        where="",
        severity=Severity.ERROR if share >= GRAVE else Severity.WARNING,
        title=f"{counted(different)} with the very same bytes under more than one label; "
        f"{copies} copies are set aside, since at most one label of each is right.",
        causes=(
            Cause(
                text="A photo was put into a wrong class folder without being taken out of the "
                "right one, or it shows several classes at once.",
                fix="Keep each of these photos only in the folder of its right class.",
                score=0.8,
                evidence=f"One of them stands under {pair[0]} and under {pair[1]}.",
            ),
        ),
        count=different,
        measured=share,
        threshold=GRAVE,
        examples=photos.pairs(rows[again], rows[again + 1]),
    )
    return Outcome([finding], dict.fromkeys(rows.tolist(), "the same photo under two labels"))
