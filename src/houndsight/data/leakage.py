"""Findings about given splits: groups on several sides, classes that are never trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from houndsight.findings import Cause, Finding, Severity

if TYPE_CHECKING:
    from houndsight.data.folder import ImageFolder

__all__ = ["split_findings"]

_EXAMPLES = 20


def split_findings(folder: ImageFolder) -> list[Finding]:
    """What is wrong with given splits."""
    if not folder.splits_given:
        return []
    return [*_group_leakage(folder), *_untrained_classes(folder)]


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
