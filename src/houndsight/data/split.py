"""Draws folds, and says what splits are drawn by: a photo's key and what it must stay with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from houndsight.data.apportion import apportion
from houndsight.errors import DataError

__all__ = ["folds", "photo_keys", "units_of"]

Integers = npt.NDArray[np.int64]


def photo_keys(paths: Iterable[str], seed: int) -> npt.NDArray[np.uint64]:
    """A random-looking number for each photo that depends on its path and the seed alone.

    Drawing by these, a photo more or less moves few others to another side.
    """
    salted = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "little"))

    def key(path: str) -> int:
        digest = salted.copy()
        digest.update(path.encode())
        return int.from_bytes(digest.digest(), "little")

    return np.fromiter(map(key, paths), np.uint64)


def units_of(count: int, *partitions: Integers | None) -> Integers:
    """What must stay together, given several partitions that each must stay whole.

    Args:
        count: photos.
        partitions: each (count,), a group number or negative for a photo that stands alone.

    Returns:
        (count,): number of the connected component, from 0.
    """
    photos, nodes, offset = [], [], count
    for partition in partitions:
        if partition is None:
            continue
        grouped = np.flatnonzero(partition >= 0)
        numbers = np.unique(partition[grouped], return_inverse=True)[1]
        photos.append(grouped)
        nodes.append(numbers + offset)
        offset += len(grouped)
    if not photos:
        return np.arange(count)
    row, column = np.concatenate(photos), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row), bool), (row, column)), shape=(offset, offset))
    components = connected_components(graph, directed=False)[1]
    return np.asarray(components[:count], np.int64)


def folds(
    labels: Integers, groups: Integers | Sequence[Any] | None, k: int, repeats: int, seed: int
) -> Integers:
    """Repeated, stratified, group-aware k-fold assignment.

    Args:
        labels: (n,) class indices.
        groups: (n,) what must stay whole; negative numbers and None stand alone. None: no groups.
        k: folds.
        repeats: how often to draw.
        seed: the same seed gives the same folds.

    Returns:
        (repeats, n): the fold in which each photo is held out.

    Raises:
        DataError: there are fewer groups than folds.
    """
    labels = np.asarray(labels, np.int64)
    units = units_of(len(labels), None if groups is None else _group_numbers(groups))
    distinct = len(np.unique(units))
    if k < 2 or distinct < k:
        raise DataError(
            f"{distinct:,} photos or groups cannot be divided into {k} folds; "
            f"take from 2 to {distinct:,} folds, or more photos."
        )
    drawn = []
    for repeat in range(repeats):
        random = np.random.default_rng((seed, repeat))
        keys = random.permutation(len(labels)).astype(np.uint64)
        part = apportion(labels, units, [1 / k] * k, keys, keep_in_first=False)
        drawn.append(random.permutation(k)[part])
    return np.stack(drawn) if drawn else np.empty((0, len(labels)), np.int64)


def _group_numbers(groups: Integers | Sequence[Any]) -> Integers:
    if isinstance(groups, np.ndarray) and groups.dtype.kind in "iu":
        return groups.astype(np.int64)
    numbers: dict[Any, int] = {}
    alone = (None, -1)
    return np.array(
        [-1 if g in alone else numbers.setdefault(g, len(numbers)) for g in groups], np.int64
    )
