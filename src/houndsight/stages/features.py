"""Stage 3, first half: the features of every photo, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from houndsight.data.folder import ImageFolder, Split
from houndsight.models.backbone import Backbone
from houndsight.stages.context import Context

__all__ = ["FeatureTable", "compute"]


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
            listener=context.within("features"),
            stage="features",
        )
        outcome.text = (
            f"Features of {len(everything):,} photos: {cached.computed:,} computed, "
            f"{len(everything) - cached.computed:,} from the cache"
        )
        outcome.values = {"computed": cached.computed}
    return _table(photos, everything, np.asarray(cached.array), cached.valid)


def _table(
    photos: ImageFolder, everything: Split, features: np.ndarray, valid: np.ndarray
) -> FeatureTable:
    splits = np.asarray(photos.table.column("split").to_pylist())
    groups = _groups(photos)
    return FeatureTable(
        features=features[valid].astype(np.float32),
        labels=everything.labels[valid],
        ids=everything.ids[valid],
        splits=splits[valid],
        groups=None if groups is None else groups[valid],
    )


def _groups(photos: ImageFolder) -> np.ndarray | None:
    """A number `(n,)` for each group; photos without one stand alone."""
    column = photos.table["group"].combine_chunks()
    if column.null_count == len(column):
        return None
    codes = np.array(pc.fill_null(column.dictionary_encode().indices, -1), np.int64)
    alone = codes < 0
    codes[alone] = codes.max() + 1 + np.arange(alone.sum())
    return codes
