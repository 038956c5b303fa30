"""What a scan found: photos with label and split, and what it left out and why.

Everything is held in Arrow and NumPy columns, so that a million photos take megabytes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from houndsight.findings import Cause, Finding, Severity

__all__ = [
    "IMAGE_ENDINGS",
    "LAYOUT_HINT",
    "SPLITS",
    "SPLIT_NAMES",
    "LeftOut",
    "Listing",
    "ListingBuilder",
    "is_ignored",
    "is_image_name",
    "printable_path",
    "sorted_listing",
]

IMAGE_ENDINGS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .tif .tiff".split()  # noqa: SIM905
)
"""Endings that make a file a photo, in lower case."""

SPLITS = ("train", "valid", "test")

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""How folders and tables call the splits, in lower case."""

LAYOUT_HINT = (
    "Expected class folders (PHOTOS/cat/1.jpg, PHOTOS/dog/2.jpg), the same below train, valid and "
    "test (PHOTOS/train/cat/1.jpg), or a labels.csv with the columns path,label[,split]."
)

_JUNK = frozenset(("thumbs.db", "desktop.ini", "__macosx", "icon\r", "@eadir", "$recycle.bin"))
_EXAMPLES = 20


def is_image_name(name: str) -> bool:
    """Whether a file name ends like a photo's, in any case."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in IMAGE_ENDINGS


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden or the rubbish of an operating system."""
    return name.startswith(".") or name.lower() in _JUNK


@dataclass(frozen=True)
class Listing:
    """Photos in the order of their paths."""

    root: Path
    paths: Any
    """Arrow string array (n,): relative to `root`, with `/`."""
    labels: npt.NDArray[np.int32]
    """(n,): index into `originals`."""
    originals: tuple[str, ...]
    splits: npt.NDArray[np.int8] | None
    """(n,): index into `SPLITS`; None when the layout has no split to validate or test on."""
    groups: Any = None
    """Arrow string array (n,), null where a photo stands alone; None without groups."""
    findings: tuple[Finding, ...] = ()


@dataclass
class LeftOut:
    """Counts what a scan left out for one reason, with some of the names."""

    rule: str
    severity: Severity
    title: str
    """A sentence with `{count}` and, where it helps, `{kinds}`."""
    cause: str
    fix: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, kind: str | None = None) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(printable_path(name))
        if kind is not None and (kind in self.kinds or len(self.kinds) < 1000):
            self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def add_many(self, examples: Sequence[str], count: int) -> None:
        """Count `count` more, of which these are some."""
        self.count += count
        room = _EXAMPLES - len(self.examples)
        self.examples += [printable_path(name) for name in examples[:room]]

    def findings(self) -> list[Finding]:
        """The finding, or nothing when nothing was left out."""
        if not self.count:
            return []
        kinds = sorted(self.kinds.items(), key=lambda item: (-item[1], item[0]))[:5]
        shown = ", ".join(f"{kind or 'no ending'} {count}" for kind, count in kinds)
        first = f"First: {self.examples[0]}." if self.examples else ""
        return [
            Finding(
                rule=self.rule,
                where="",
                severity=self.severity,
                title=self.title.format(count=f"{self.count:,}", kinds=shown),
                causes=(Cause(text=self.cause, fix=self.fix, evidence=first),),
                count=self.count,
                measured=float(self.count),
                examples=tuple(self.examples),
            )
        ]


def printable_path(path: str) -> str:
    """`path` for people and JSON: bytes that are not UTF-8 and control characters shown as `?`."""
    return "".join("?" if unicodedata.category(c).startswith("C") else c for c in path)


class ListingBuilder:
    """Collects photos chunk by chunk and puts them in the order of their paths."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0
        self._paths: list[Any] = []
        self._labels: list[npt.NDArray[np.int32]] = []
        self._splits: list[npt.NDArray[np.int8]] = []
        self._classes: dict[str, int] = {}

    def add(self, paths: Sequence[str], label: str, split: str) -> None:
        """Add photos of one class; `split` is a name in `SPLITS`, or empty."""
        # macOS and Linux compose accents differently: train/é and valid/é are one class.
        code = self._classes.setdefault(unicodedata.normalize("NFC", label), len(self._classes))
        self._paths.append(pa.array(paths, pa.string()))
        self._labels.append(np.full(len(paths), code, np.int32))
        self._splits.append(np.full(len(paths), SPLITS.index(split) if split else -1, np.int8))
        self.count += len(paths)

    def counts_by_split(self) -> dict[str, int]:
        """How many photos each split has so far; those without a split are under ''."""
        counts: dict[str, int] = {}
        for codes in self._splits:
            name = SPLITS[codes[0]] if len(codes) and codes[0] >= 0 else ""
            counts[name] = counts.get(name, 0) + len(codes)
        return counts

    def finish(self, *, with_splits: bool, findings: Sequence[Finding] = ()) -> Listing:
        """The listing, sorted by path; classes sorted by name."""
        paths = pa.chunked_array(self._paths, pa.string()).combine_chunks()
        labels = np.concatenate(self._labels or [np.empty(0, np.int32)])
        splits = np.concatenate(self._splits or [np.empty(0, np.int8)])
        return sorted_listing(
            Listing(
                root=self.root,
                paths=paths,
                labels=labels,
                originals=tuple(self._classes),
                splits=splits if with_splits else None,
                findings=tuple(findings),
            )
        )


def sorted_listing(listing: Listing) -> Listing:
    """The same photos ordered by path (bytes of UTF-8) and classes ordered by name."""
    # Arrow sorts strings by their UTF-8 bytes, which no locale changes.
    order = pc.sort_indices(listing.paths).to_numpy().astype(np.int64)
    originals = tuple(sorted(listing.originals))
    rank = {name: index for index, name in enumerate(originals)}
    renumber = np.array([rank[name] for name in listing.originals] or [0], np.int32)
    return Listing(
        root=listing.root,
        paths=listing.paths.take(pa.array(order)),
        labels=renumber[listing.labels[order]] if len(order) else listing.labels,
        originals=originals,
        splits=None if listing.splits is None else listing.splits[order],
        groups=None if listing.groups is None else listing.groups.take(pa.array(order)),
        findings=listing.findings,
    )
