"""The very same photo more than once: within a split it counts double, across splits it leaks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from houndsight.data.checks.base import CheckedPhotos, Outcome, counted, percent
from houndsight.data.checks.leak import leak_severity, removable
from houndsight.findings import Cause, Finding, Severity

__all__ = ["find_exact_duplicates"]

Integers = npt.NDArray[np.int64]


def find_exact_duplicates(photos: CheckedPhotos) -> Outcome:
    """One copy of each photo is kept: in the test split before valid, there before train."""
    contents, sides = photos.contents, photos.sides
    order = np.lexsort((np.arange(len(photos)), -sides, contents))
    first = np.ones(len(order), bool)
    first[1:] = contents[order[1:]] != contents[order[:-1]]
    kept = order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]
    copies, originals = order[~first], kept[~first]
    across = sides[copies] != sides[originals]
    outcome = Outcome()
    _across(photos, copies[across], originals[across], outcome)
    _within(photos, copies[~across], originals[~across], outcome)
    return outcome


def _across(photos: CheckedPhotos, copies: Integers, kept: Integers, outcome: Outcome) -> None:
    if not len(copies):
        return
    leaked = len(np.unique(kept))
    evaluated = int((photos.sides > 0).sum())
    remove = removable(photos, copies)
    if remove:
        outcome.set_aside.update(dict.fromkeys(copies.tolist(), "a copy is in valid or test"))
    done = "their copies on the training side are set aside" if remove else "too many to set aside"
    outcome.findings.append(
        Finding(
            rule="DuplicatesAcrossSplits",
            where="",
            severity=leak_severity(leaked, evaluated, remove),
            title=f"Copies of {counted(leaked)} of valid and test ({percent(leaked, evaluated)}) "
            f"stand in the split before them, so that figures come out too good; {done}.",
            causes=(
                Cause(
                    text="The splits were drawn from photos that hold copies, or by copying "
                    "instead of moving.",
                    fix="Remove copies before drawing splits, or give the photos without splits "
                    "and let Houndsight draw them.",
                    score=0.9,
                    evidence="The files are equal byte for byte (BLAKE2b-128).",
                ),
            ),
            count=leaked,
            measured=leaked / max(evaluated, 1),
            threshold=0.0,
            examples=photos.pairs(copies, kept),
        )
    )


def _within(photos: CheckedPhotos, copies: Integers, kept: Integers, outcome: Outcome) -> None:
    if not len(copies):
        return
    outcome.set_aside.update(dict.fromkeys(copies.tolist(), "a copy is kept in the same split"))
    outcome.findings.append(
        Finding(
            rule="ExactDuplicates",
            where="",
            severity=Severity.WARNING,
            title=f"{counted(len(copies))} ({percent(len(copies), len(photos))}) set aside: the "
            f"same as {counted(len(np.unique(kept)), 'other photo')} byte for byte.",
            causes=(
                Cause(
                    text="Photos were collected from overlapping sources or copied by mistake.",
                    fix="Delete the copies; nothing is lost, since one of each is kept.",
                    score=0.9,
                    evidence="The files are equal byte for byte (BLAKE2b-128).",
                ),
            ),
            count=len(copies),
            measured=len(copies) / len(photos),
            threshold=0.0,
            examples=photos.pairs(copies, kept),
        )
    )
