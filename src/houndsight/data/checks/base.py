"""What a check looks at, and what it can say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from houndsight.data.folder import ImageFolder
from houndsight.findings import Finding

__all__ = ["EXAMPLES", "SIDES", "CheckedPhotos", "Outcome", "counted", "percent"]

EXAMPLES = 20
"""Photos named in a finding; its `count` says how many there are."""

SIDES = {"": 0, "train": 0, "valid": 1, "test": 2}
"""The splits, the one whose copy of a photo is kept last."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CheckedPhotos:
    """Photos with their facts, row by row: those that no check before has set aside."""

    folder: ImageFolder
    facts: Any
    """The table of `gather_facts`, in the order of `folder.table`."""
    minimum_edge_px: int = 32

    def __len__(self) -> int:
        return len(self.folder)

    @cached_property
    def labels(self) -> Integers:
        """(n,) class indices."""
        return self.folder.labels

    @cached_property
    def sides(self) -> Integers:
        """(n,) 0 for what is or will be trained on, 1 for valid, 2 for test."""
        codes = self.folder.table["split"].combine_chunks().dictionary_encode()
        lookup = np.array([SIDES[name] for name in codes.dictionary.to_pylist()] or [0], np.int64)
        return np.asarray(lookup[codes.indices.to_numpy()], np.int64)

    @cached_property
    def contents(self) -> Integers:
        """(n,) a number for each content; photos with the same bytes have the same."""
        codes = self.facts["hash"].combine_chunks().dictionary_encode().indices
        return np.asarray(codes.to_numpy(), np.int64)

    def column(self, name: str) -> Floats:
        """(n,) one of the measured facts."""
        return np.asarray(self.facts[name].to_numpy(), np.float64)

    def names(self, rows: Iterable[int]) -> tuple[str, ...]:
        """The paths of photos, relative to the root."""
        wanted = pa.array(np.fromiter(rows, np.int64))
        return tuple(self.folder.table["path"].take(wanted).to_pylist())

    def examples(self, rows: Sequence[int] | Integers) -> tuple[str, ...]:
        """The names of the first few of `rows`."""
        return self.names(rows[:EXAMPLES])

    def pairs(self, first: Integers, second: Integers) -> tuple[str, ...]:
        """The names of the first few pairs, `a = b`."""
        left, right = self.examples(first), self.examples(second)
        return tuple(f"{a} = {b}" for a, b in zip(left, right, strict=True))

    def without(self, rows: Iterable[int]) -> CheckedPhotos:
        """The photos less some of them."""
        keep = np.ones(len(self), bool)
        keep[np.fromiter(rows, np.int64)] = False
        ids = self.folder.table["id"].to_numpy()[~keep]
        facts = self.facts.filter(pa.array(keep))
        return CheckedPhotos(self.folder.without(ids), facts, self.minimum_edge_px)


@dataclass(frozen=True)
class Outcome:
    """What a check found, and which rows it sets aside for which reason."""

    findings: list[Finding] = field(default_factory=list)
    set_aside: dict[int, str] = field(default_factory=dict)


def counted(count: int, what: str = "photo") -> str:
    """`1 photo`, `1,200 photos`; the plural of `class` is `classes`."""
    ending = "" if count == 1 else "es" if what.endswith("s") else "s"
    return f"{count:,} {what}{ending}"


def percent(part: int, whole: int) -> str:
    """A share in words that never rounds something to nothing: `12 %`, `0.4 %`, `0.002 %`."""
    return f"{100 * part / max(whole, 1):.2g} %" if part < whole else "100 %"
