"""Photos that show the same picture without being the same file."""

from __future__ import annotations

import numpy as np

from houndsight.data.checks.base import CheckedPhotos, Outcome, counted, percent
from houndsight.data.checks.leak import leak_severity, removable
from houndsight.data.near_duplicates import MINIMUM_COSINE, NearDuplicates
from houndsight.findings import Cause, Finding, Severity

__all__ = ["find_near_duplicates_across", "find_near_duplicates_under_two_labels", "tell_of_groups"]


def find_near_duplicates_across(photos: CheckedPhotos, pairs: NearDuplicates) -> Outcome:
    """Near-duplicates on two sides of given splits: the copy on the earlier side is set aside."""
    sides = photos.sides
    across = sides[pairs.first] != sides[pairs.second]
    if not across.any():
        return Outcome()
    first, second = pairs.first[across], pairs.second[across]
    swap = sides[first] > sides[second]
    copies, kept = np.where(swap, second, first), np.where(swap, first, second)
    leaked, evaluated = len(np.unique(kept)), int((sides > 0).sum())
    rows = np.unique(copies)
    remove = removable(photos, rows)
    done = f"{counted(len(rows))} set aside there" if remove else "too many to set aside"
    finding = Finding(
        rule="NearDuplicatesAcrossSplits",
        where="",
        severity=leak_severity(leaked, evaluated, remove),
        title=f"Near-duplicates of {counted(leaked)} of valid and test "
        f"({percent(leaked, evaluated)}) stand in the split before them, so that figures come "
        f"out too good; {done}.",
        causes=(
            Cause(
                text="Photos of one series, or edited copies of one photo, were split one by one.",
                fix="Keep a series on one side (--group), or give the photos without splits: "
                "Houndsight then keeps near-duplicates together.",
                score=0.8,
                evidence=_evidence(pairs, across),
            ),
        ),
        count=leaked,
        measured=leaked / max(evaluated, 1),
        threshold=0.0,
        examples=photos.pairs(copies, kept),
    )
    reasons = dict.fromkeys(rows.tolist(), "a near-duplicate is in valid or test") if remove else {}
    return Outcome([finding], reasons)


def find_near_duplicates_under_two_labels(
    photos: CheckedPhotos, pairs: NearDuplicates
) -> list[Finding]:
    """Near-duplicates whose labels differ: one may be wrong."""
    differ = photos.labels[pairs.first] != photos.labels[pairs.second]
    count = int(differ.sum())
    if not count:
        return []
    first, second = pairs.first[differ], pairs.second[differ]
    names = [photos.folder.classes[photos.labels[rows[0]]].name for rows in (first, second)]
    return [
        Finding(
            rule="NearDuplicatesUnderTwoLabels",
            where="",
            severity=Severity.WARNING,
            title=f"Near-duplicates under different labels: {counted(count, 'pair')}.",
            causes=(
                Cause(
                    text="One of the two labels is wrong, or the classes differ by less than "
                    "these photos show.",
                    fix="Look at these pairs and correct the label that is wrong.",
                    score=0.7,
                    evidence=f"The first pair stands under {names[0]} and {names[1]}. "
                    + _evidence(pairs, differ),
                ),
            ),
            count=count,
            measured=float(count),
            threshold=0.0,
            examples=photos.pairs(first, second),
        )
    ]


def tell_of_groups(photos: CheckedPhotos, pairs: NearDuplicates) -> list[Finding]:
    """That there are near-duplicates, and what is done about them."""
    if not len(pairs):
        return []
    rows = len(np.unique(np.concatenate([pairs.first, pairs.second])))
    return [
        Finding(
            rule="NearDuplicates",
            where="",
            severity=Severity.INFO,
            title=f"Near-duplicates: {counted(rows)} ({percent(rows, len(photos))}); where "
            "Houndsight draws the splits, they are kept on one side.",
            causes=(
                Cause(
                    text="Series of one motif, edited or recompressed copies, or the same object "
                    "photographed again.",
                    fix="Nothing has to be done; with data.near_duplicate_bits = 0 only photos "
                    "with equal hashes are compared.",
                    score=0.6,
                    evidence=_evidence(pairs, np.ones(len(pairs), bool)),
                ),
            ),
            count=rows,
            measured=rows / len(photos),
            threshold=0.0,
            examples=photos.pairs(pairs.first, pairs.second),
        )
    ]


def _evidence(pairs: NearDuplicates, which: np.ndarray) -> str:
    alike, mirrored = pairs.cosine[which], int(pairs.mirrored[which].sum())
    turned = f", {mirrored:,} of them mirrored" if mirrored else ""
    return (
        f"Correlation of the pictures, less what all photos share: {alike.min():.2f} to "
        f"{alike.max():.2f}, where {MINIMUM_COSINE} counts as the same{turned}."
    )
