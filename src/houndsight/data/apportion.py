"""Divides photos into parts of given shares: stratified by class, groups kept whole.

Units of several photos (a patient, near-duplicates) are placed first, largest first, each where
it lowers the chi-square distance between what the parts have and what they should have; this is
Webster's (Sainte-Laguë's) apportionment, which favours neither large nor small parts. Photos
that stand alone then fill each class's remaining quotas, rounding errors being carried from
class to class, so that without groups every class is within one photo of its share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["apportion"]

Integers = npt.NDArray[np.int64]


def apportion(
    labels: Integers,
    units: Integers,
    shares: Sequence[float],
    keys: npt.NDArray[np.uint64],
    *,
    keep_in_first: bool = True,
) -> Integers:
    """Put every photo into one of several parts.

    Args:
        labels: (n,) class indices.
        units: (n,) unit numbers; photos of one unit go into one part.
        shares: the parts' shares, which add up to 1.
        keys: (n,) random numbers that decide among equals.
        keep_in_first: every class has a photo in the first part, the one to train on.

    Returns:
        (n,): part of each photo.
    """
    return _Apportionment(labels, units, np.asarray(shares, float), keys, keep_in_first).run()


class _Apportionment:
    """The state while photos are placed: what each part has of each class."""

    def __init__(
        self,
        labels: Integers,
        units: Integers,
        shares: npt.NDArray[np.float64],
        keys: npt.NDArray[np.uint64],
        keep_in_first: bool,
    ) -> None:
        self.labels, self.units, self.shares, self.keys = labels, units, shares, keys
        self.keep_in_first = keep_in_first
        classes = int(labels.max()) + 1 if len(labels) else 0
        self.quotas = np.bincount(labels, minlength=classes)[:, None] * shares
        self.have = np.zeros_like(self.quotas)
        self.part = np.full(len(labels), -1, np.int64)

    def run(self) -> Integers:
        if not len(self.labels):
            return self.part
        sizes = np.bincount(self.units)
        alone = sizes[self.units] == 1
        self._place_units(np.flatnonzero(~alone), np.flatnonzero(alone))
        self._place_alone(np.flatnonzero(alone))
        return self.part

    def _place_units(self, grouped: Integers, alone: Integers) -> None:
        if not len(grouped):
            return
        members, order = self._units_by_size(grouped)
        left = np.bincount(self.labels[alone], minlength=len(self.quotas))
        for unit in members:
            left[np.unique(self.labels[unit])] += 1
        for index in order:
            unit = members[index]
            classes, counts = np.unique(self.labels[unit], return_counts=True)
            last = (left[classes] == 1) & (self.have[classes, 0] == 0)
            forced = self.keep_in_first and last.any()
            part = 0 if forced else self._best_part(classes, counts)
            self.part[unit] = part
            self.have[classes, part] += counts
            left[classes] -= 1

    def _units_by_size(self, grouped: Integers) -> tuple[list[Integers], Integers]:
        """The units' photos, and their order: largest first, equals by their smallest key."""
        by_unit = grouped[np.argsort(self.units[grouped], kind="stable")]
        starts = np.flatnonzero(np.diff(self.units[by_unit], prepend=-1))
        keys = np.minimum.reduceat(self.keys[by_unit], starts)
        sizes = np.diff(starts, append=len(by_unit))
        return np.split(by_unit, starts[1:]), np.lexsort((keys, -sizes))

    def _best_part(self, classes: Integers, counts: Integers) -> int:
        """Where the unit raises the chi-square distance of classes and totals the least."""
        quota = self.quotas[classes]
        need = quota - self.have[classes]
        added = counts[:, None]
        of_classes = ((added**2 - 2 * added * need) / quota).sum(0)
        total, size = self.quotas.sum(0), counts.sum()
        of_total = (size**2 - 2 * size * (total - self.have.sum(0))) / total
        return int(np.argmin(of_classes + of_total))

    def _place_alone(self, alone: Integers) -> None:
        """Fill what is left of each class's quotas, carrying the rounding errors on."""
        ordered = alone[np.lexsort((self.keys[alone], self.labels[alone]))]
        counts = np.bincount(self.labels[alone], minlength=len(self.quotas))
        ends = np.cumsum(counts)
        carry = (self.have.sum(1, keepdims=True) * self.shares - self.have).sum(0)
        for label in np.flatnonzero(counts):
            take = self._round(int(label), int(counts[label]), carry)
            photos = ordered[ends[label] - counts[label] : ends[label]]
            # The first part comes last: it keeps what the others do not draw.
            parts = np.repeat(np.roll(np.arange(len(take)), -1), np.roll(take, -1))
            self.part[photos] = parts

    def _round(self, label: int, count: int, carry: npt.NDArray[np.float64]) -> Integers:
        """Whole numbers of photos for each part that add up to `count`; updates `carry`."""
        wanted = np.maximum(self.quotas[label] - self.have[label], 0)
        wanted *= count / wanted.sum()
        take: Integers = np.floor(wanted + 1e-9).astype(np.int64)
        rest = count - int(take.sum())
        fraction = np.where(wanted - take > 1e-9, wanted - take, -np.inf)
        preference = fraction + carry
        if self.keep_in_first and self.have[label, 0] + take[0] == 0:
            preference[0] = np.inf
        take[np.argsort(-preference, kind="stable")[:rest]] += 1
        carry += wanted - take
        return take
