"""Stage 3, first half: the features of every photo, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from houndsight.data.folder import ImageFolder, Split
from houndsight.findings import Cause, Finding, Severity
from houndsight.models.backbone import Backbone
from houndsight.models.features import CachedFeatures
from houndsight.stages.context import Context
from houndsight.wording import plural

__all__ = ["FeatureTable", "compute"]

MOST_EXAMPLES = 20


@dataclass(frozen=True)
class FeatureTable:
    """Features of all photos that could be decoded, in id order."""

    features: np.ndarray
    """`(n, d)` float32"""
    labels: np.ndarray
    """`(n,)` int64"""
    ids: np.ndarray
    """`(n,)` int64, photo ids"""
    splits: np.ndarray
    """`(n,)` split names"""
    groups: np.ndarray | None
    """`(n,)` group numbers that must stay together, or None"""

    def part(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of one split."""
        rows = self.splits == split
        return self.features[rows], self.labels[rows]

    def ids_of(self, split: str) -> np.ndarray:
        """Photo ids of one split, in the order of `part`."""
        ids: np.ndarray = self.ids[self.splits == split]
        return ids


def compute(context: Context, photos: ImageFolder, backbone: Backbone) -> FeatureTable:
    """The features of every photo, from the cache where they are there."""
    everything = photos.all()
    text = f"Computing features with {backbone.name}"
    with context.stage("features", text, total=len(everything)) as outcome:
        cached = context.cache.features(
            backbone,
            everything,
            runtime=context.config.models.runtime_name,
            workers=context.config.data.workers,
            max_pixels=context.config.data.max_pixels,
            listener=context.within("features"),
            stage="features",
        )
        lost = int((~cached.valid).sum())
        outcome.text = (
            f"Features of {len(everything):,} photos: {cached.computed:,} computed, "
            f"{len(everything) - cached.computed - lost:,} from the cache"
            + (f", {lost:,} could not be used" if lost else "")
        )
        outcome.values = {"computed": cached.computed, "lost": lost}
        context.run.add_findings([*cached.findings, *_lost(everything, cached)])
    return _table(photos, everything, np.asarray(cached.array), cached.valid)


def _lost(everything: Split, cached: CachedFeatures) -> list[Finding]:
    """Photos that passed the check and could not be used afterwards."""
    if not cached.errors:
        return []
    places = {int(photo): place for place, photo in enumerate(everything.ids)}
    paths = everything.table["path"]
    told = [f"{paths[places[photo]].as_py()}: {why}" for photo, why in cached.errors.items()]
    return [
        Finding(
            rule="PhotosLost",
            where="",
            severity=Severity.WARNING,
            title=(
                f"{plural(len(told), 'photo')} of {len(everything):,} passed the check and could "
                "not be used afterwards; nothing was learnt from them."
            ),
            causes=(
                Cause(
                    text="The files were changed, moved or damaged after they were checked.",
                    fix="Leave the photos alone while a run works on them; start a new run.",
                    evidence=told[0],
                    score=0.9,
                ),
            ),
            count=len(told),
            examples=tuple(told[:MOST_EXAMPLES]),
        )
    ]


def _table(
    photos: ImageFolder, everything: Split, features: np.ndarray, valid: np.ndarray
) -> FeatureTable:
    splits = np.asarray(photos.table.column("split").to_pylist())
    groups = photos.together
    return FeatureTable(
        features=features[valid].astype(np.float32),
        labels=everything.labels[valid],
        ids=everything.ids[valid],
        splits=splits[valid],
        groups=None if groups is None else groups[valid],
    )
