"""Check the photos: set aside what cannot be used, tell what is wrong, draw the splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from houndsight.data.checks.base import EXAMPLES, CheckedPhotos, Outcome
from houndsight.data.checks.blank import find_blank
from houndsight.data.checks.blurred import find_blurred
from houndsight.data.checks.dark import find_dark
from houndsight.data.checks.exact_duplicates import find_exact_duplicates
from houndsight.data.checks.few_photos import find_few_photos
from houndsight.data.checks.imbalance import find_imbalance
from houndsight.data.checks.near_duplicates import (
    find_near_duplicates_across,
    find_near_duplicates_under_two_labels,
    tell_of_groups,
)
from houndsight.data.checks.odd_shaped import find_odd_shaped
from houndsight.data.checks.tiny import find_tiny
from houndsight.data.checks.two_labels import find_two_labels
from houndsight.data.checks.unusable import find_unusable
from houndsight.data.facts import FactsCache, gather_facts
from houndsight.data.folder import ImageFolder
from houndsight.data.near_duplicates import NearDuplicates, find_near_duplicates
from houndsight.data.settings import DataSettings
from houndsight.data.signature import LENGTH
from houndsight.errors import DataError
from houndsight.events import Listener
from houndsight.findings import Cause, Finding, Severity

__all__ = ["CheckResult", "check"]

_TELL: tuple[Callable[[CheckedPhotos], list[Finding]], ...] = (
    find_few_photos,
    find_imbalance,
    find_dark,
    find_blank,
    find_blurred,
    find_tiny,
    find_odd_shaped,
)


@dataclass(frozen=True)
class CheckResult:
    """What the check found and what is left to work with."""

    findings: list[Finding]
    """Gravest first, those of the listing included."""
    folder: ImageFolder
    """Without the photos set aside, with content hashes, every photo in a split."""
    set_aside: dict[int, str]
    """Id of each photo set aside, and why: `kind: detail` for files that cannot be decoded."""
    facts: Any
    """Arrow table in the order of `folder.table`: size_bytes, width, height, format, brightness,
    contrast, sharpness and the rest of `PhotoFacts` but the signature."""
    look_alikes: npt.NDArray[np.int64]
    """(n,): photos with equal numbers are near-duplicates and must stand on one side."""


def check(
    folder: ImageFolder,
    settings: DataSettings | None = None,
    *,
    listener: Listener | None = None,
    cache: FactsCache | None = None,
) -> CheckResult:
    """Look at every photo of `folder`, or remember what was seen when it is unchanged.

    Set aside are: files that cannot be decoded; photos that stand under two labels; copies of a
    photo that is kept; and training photos of which a copy or near-duplicate is in a given valid
    or test split (valid ones with one in test), unless they are so many that nothing like the
    given training data would be left. Splits that are missing are drawn, near-duplicates
    together.

    Raises:
        DataError: more than half of the photos cannot be used, or fewer than two classes are
            left; the sentence says what was looked for and what was found.
    """
    settings = settings or DataSettings()
    facts = gather_facts(
        folder,
        cache=cache,
        workers=settings.workers,
        max_pixels=settings.max_pixels,
        listener=listener,
    )
    checking = _Checking(CheckedPhotos(folder, facts, settings.minimum_edge_px))
    checking.apply(find_unusable)
    checking.apply(find_two_labels)
    _require_usable(folder, checking.set_aside)
    checking.apply(find_exact_duplicates)
    pairs = _near_duplicates(checking.photos, settings)
    checking.apply(lambda photos: find_near_duplicates_across(photos, pairs))
    photos = checking.photos
    pairs = _remaining(pairs, checking.moved)
    checking.findings += find_near_duplicates_under_two_labels(photos, pairs)
    checking.findings += tell_of_groups(photos, pairs)
    for tell in _TELL:
        checking.findings += tell(photos)
    left = photos.folder.with_hashes(photos.facts["hash"].to_pylist())
    left.require_classes()
    checking.findings += _empty_classes(left)
    left = left.without_empty_classes()
    look_alikes = _groups(len(photos), pairs)
    drawn = left.with_splits(settings, look_alikes).kept_together(look_alikes)
    return CheckResult(
        sorted([*drawn.findings, *checking.findings], key=lambda finding: finding.severity.rank),
        drawn,
        checking.set_aside,
        photos.facts.drop_columns(["signature"]),
        look_alikes,
    )


def _empty_classes(left: ImageFolder) -> list[Finding]:
    """Classes of which no photo can be used: no network can learn them, none may answer them."""
    gone = set(range(len(left.classes))) - set(np.unique(left.labels).tolist())
    if not gone:
        return []
    names = [left.classes[index].name for index in sorted(gone)]
    return [
        Finding(
            rule="EmptyClass",
            where="",
            severity=Severity.WARNING,
            title=f"No photo of {', '.join(names[:EXAMPLES])} can be used; left out.",
            causes=(
                Cause(
                    text="All photos of the class were set aside, or there never were any.",
                    fix="Mend or add photos of the class; the other findings say what was wrong.",
                    score=0.9,
                ),
            ),
            count=len(names),
            examples=tuple(names[:EXAMPLES]),
        )
    ]


class _Checking:
    """The photos as the checks set more and more of them aside."""

    def __init__(self, photos: CheckedPhotos) -> None:
        self.photos = photos
        self.findings: list[Finding] = []
        self.set_aside: dict[int, str] = {}
        self.moved: npt.NDArray[np.int64] = np.arange(len(photos))
        """Where each row before the last check is now, -1 for those set aside."""

    def apply(self, find: Callable[[CheckedPhotos], Outcome]) -> None:
        outcome = find(self.photos)
        self.findings += outcome.findings
        ids = self.photos.folder.table["id"].to_numpy()
        self.set_aside |= {int(ids[row]): reason for row, reason in outcome.set_aside.items()}
        kept = np.ones(len(self.photos), bool)
        kept[list(outcome.set_aside)] = False
        self.moved = np.where(kept, np.cumsum(kept) - 1, -1)
        if outcome.set_aside:
            self.photos = self.photos.without(outcome.set_aside)


def _near_duplicates(photos: CheckedPhotos, settings: DataSettings) -> NearDuplicates:
    column = photos.facts["signature"].combine_chunks()
    signatures = np.frombuffer(column.buffers()[1], np.int8)[column.offset * LENGTH :]
    return find_near_duplicates(
        signatures[: len(photos) * LENGTH].reshape(-1, LENGTH),
        photos.facts["contrast"].to_numpy(),
        bits=settings.near_duplicate_bits,
    )


def _remaining(pairs: NearDuplicates, moved: npt.NDArray[np.int64]) -> NearDuplicates:
    """The pairs of which both photos are still there, at their new rows."""
    first, second = moved[pairs.first], moved[pairs.second]
    both = (first >= 0) & (second >= 0)
    return NearDuplicates(first[both], second[both], pairs.cosine[both], pairs.mirrored[both])


def _groups(count: int, pairs: NearDuplicates) -> npt.NDArray[np.int64]:
    """(count,): a number for each set of photos that are near-duplicates directly or by others."""
    links = np.ones(len(pairs), bool)
    graph = coo_array((links, (pairs.first, pairs.second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _require_usable(folder: ImageFolder, set_aside: dict[int, str]) -> None:
    """Stop when more than half of the photos are bad.

    Raises:
        DataError: they are.
    """
    if 2 * len(set_aside) <= len(folder):
        return
    kinds = Counter(reason.partition(":")[0] for reason in set_aside.values())
    found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    paths = folder.all().paths()
    row = int(np.flatnonzero(np.isin(folder.table["id"].to_numpy(), [*set_aside]))[0])
    first = set_aside[int(folder.table["id"][row].as_py())]
    raise DataError(
        f"{folder.root}: looked for photos (JPEG, PNG, WebP, GIF, BMP, TIFF) of at least two "
        f"classes, and {len(set_aside):,} of {len(folder):,} files cannot be used: {found}. The "
        f"first is {paths[row]} ({first}). More than half must be good; mend or delete the others."
    )
