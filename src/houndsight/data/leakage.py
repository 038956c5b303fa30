"""Findings about splits: groups on several sides, classes never trained, shares missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from houndsight.findings import Cause, Finding, Severity

if TYPE_CHECKING:
    from houndsight.data.folder import ImageFolder

__all__ = ["drawing_findings", "split_findings"]

_EXAMPLES = 20
_TOLERANCE = 0.05
"""A drawn share may be this far from the one asked for before it is worth a finding."""


def split_findings(folder: ImageFolder) -> list[Finding]:
    """What is wrong with given splits."""
    if not folder.splits_given:
        return []
    return [*_group_leakage(folder), *_untrained_classes(folder)]


def drawing_findings(folder: ImageFolder, drawn: Mapping[str, float]) -> list[Finding]:
    """What the drawing could not do because groups stay whole.

    Args:
        folder: with its splits.
        drawn: the shares asked for, by split, of the photos that were drawn from.
    """
    sizes = folder.split_sizes
    count = sum(sizes.get(name, 0) for name in ("train", *drawn))
    found = {name: sizes.get(name, 0) / count for name in drawn}
    return [
        finding
        for name, share in drawn.items()
        for finding in (*_missed(name, share, found[name]), *_absent(folder, name, share))
    ]


def _missed(split: str, asked: float, found: float) -> list[Finding]:
    if abs(found - asked) <= _TOLERANCE:
        return []
    cause = Cause(
        text="Groups stay whole, and some hold a large part of the photos.",
        fix="Group by something finer, or accept the shares as they are.",
        score=0.9,
        evidence=f"Asked for were {asked:.0%}.",
    )
    return [
        Finding(
            rule="SharesMissed",
            where=split,
            severity=Severity.WARNING,
            title=f"The {split} split holds {found:.0%} of the photos instead of {asked:.0%}.",
            causes=(cause,),
            measured=found,
            threshold=asked,
        )
    ]


def _absent(folder: ImageFolder, split: str, share: float) -> list[Finding]:
    """Classes large enough to be drawn that the split has no photo of."""
    totals = np.bincount(folder.labels, minlength=len(folder.classes))
    there = np.bincount(folder.split(split).labels, minlength=len(folder.classes))
    absent = np.flatnonzero((there == 0) & (totals * share >= 1))
    if not len(absent):
        return []
    names = [folder.classes[index].original for index in absent]
    cause = Cause(
        text="Their photos belong to so few groups that all are needed for training.",
        fix="Add photos of further groups of these classes, or group by something finer.",
        score=0.9,
        evidence=f"{names[0]} has {totals[absent[0]]:,} photos and none in {split}.",
    )
    return [
        Finding(
            rule="ClassesNotDrawn",
            where=split,
            severity=Severity.WARNING,
            title=f"Classes that the {split} split has no photo of, so that it says nothing about "
            f"them: {len(names):,} of {len(folder.classes):,}.",
            causes=(cause,),
            count=len(names),
            measured=float(len(names)),
            threshold=0.0,
            examples=tuple(names[:_EXAMPLES]),
        )
    ]


def _group_leakage(folder: ImageFolder) -> list[Finding]:
    table = folder.table.filter(pc.is_valid(folder.table["group"]))
    sides = table.group_by("group").aggregate([("split", "count_distinct")])
    leaking = sides.filter(pc.greater(sides["split_count_distinct"], 1))["group"]
    if not len(leaking):
        return []
    photos = pc.sum(pc.is_in(table["group"], value_set=leaking)).as_py()
    names = sorted(leaking.to_pylist())
    cause = Cause(
        text="The splits were made photo by photo, not group by group.",
        fix="Give the photos without splits and let Houndsight draw them with the same --group, "
        "or move each group to one side.",
        score=0.9,
        evidence=f"{names[0]} is on more than one side.",
    )
    return [
        Finding(
            rule="GroupLeakage",
            where="",
            severity=Severity.ERROR,
            title="Groups on more than one side of the given splits, so that the figures come out "
            f"too good: {len(names):,} of {len(sides):,} ({photos:,} photos).",
            causes=(cause,),
            count=len(names),
            measured=len(names) / len(sides),
            threshold=0.0,
            examples=tuple(names[:_EXAMPLES]),
        )
    ]


def _untrained_classes(folder: ImageFolder) -> list[Finding]:
    trained = np.unique(folder.split("train").labels)
    missing = np.setdiff1d(np.unique(folder.labels), trained)
    if not len(missing):
        return []
    names = [folder.classes[index].original for index in missing]
    photos = int(np.isin(folder.labels, missing).sum())
    cause = Cause(
        text="These classes are missing from train or are spelled differently there.",
        fix="Give the folders of a class the same name in every split, or add training photos.",
        score=0.8,
        evidence=f"{names[0]} has no photo in train.",
    )
    return [
        Finding(
            rule="ClassesWithoutTraining",
            where="",
            severity=Severity.WARNING,
            title="Classes only in valid or test, which nothing trains, so that they cannot be "
            f"recognised: {len(names):,} ({photos:,} photos).",
            causes=(cause,),
            count=len(names),
            measured=float(len(names)),
            threshold=0.0,
            examples=tuple(names[:_EXAMPLES]),
        )
    ]
