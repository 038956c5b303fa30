"""Photos of the same scene, found by their features: leakage, and labels that disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.findings import Cause, Finding, Severity
from houndsight.quality.similarity import SimilarPair, near_duplicates

__all__ = ["embedding_duplicates"]

MANY_PHOTOS = 30_000
"""Above this only pairs with a photo outside the training split are looked for."""

LEAKING = 0.01
"""From this share of validation and test photos on, their figures flatter noticeably."""

EXAMPLES = 20
SHOWN = 200


def embedding_duplicates(
    features: npt.NDArray[Any],
    *,
    labels: npt.NDArray[Any],
    splits: Sequence[str],
    paths: Sequence[str],
    classes: Sequence[str],
    many_photos: int = MANY_PHOTOS,
) -> list[Finding]:
    """Findings about photos that look alike to the backbone, such as frames of one burst.

    Pairs on two sides of a split come first (leakage), then pairs with different labels, then
    the rest.

    Args:
        features: `(n, d)`.
        labels: `(n,)`, class indices.
        splits: `(n,)`, `train`, `valid` or `test`.
        paths: `(n,)`, for people.
        classes: readable names by class index.
        many_photos: above this number only pairs with a photo outside `train` are looked for.
    """
    sides = np.asarray(splits)
    labels = np.asarray(labels)
    outside = np.flatnonzero(sides != "train")
    pairs = near_duplicates(features, outside if len(features) > many_photos else None)
    across = [p for p in pairs if sides[p.first] != sides[p.second]]
    differing = [p for p in pairs if labels[p.first] != labels[p.second]]
    told = {*across, *differing}
    rest = [p for p in pairs if p not in told]
    names = _Names(labels, sides, paths, classes)
    findings = []
    if across:
        findings.append(_leakage(across, names, len(outside)))
    if differing:
        findings.append(_labels(differing, names))
    if rest:
        findings.append(_repeats(rest, names, len(features)))
    return findings


class _Names:
    """What people call the rows."""

    def __init__(
        self,
        labels: npt.NDArray[Any],
        sides: npt.NDArray[Any],
        paths: Sequence[str],
        classes: Sequence[str],
    ) -> None:
        self.labels, self.sides, self.paths, self.classes = labels, sides, paths, classes

    def examples(self, pairs: Sequence[SimilarPair]) -> tuple[str, ...]:
        return tuple(f"{self.paths[p.first]} = {self.paths[p.second]}" for p in pairs[:EXAMPLES])

    def plot(self, pairs: Sequence[SimilarPair]) -> dict[str, Any]:
        return {"pairs": [self._row(p) for p in pairs[:SHOWN]]}

    def described(self, row: int) -> str:
        return f"{self.paths[row]} ({self.classes[self.labels[row]]}, {self.sides[row]})"

    def _row(self, pair: SimilarPair) -> dict[str, Any]:
        both = (pair.first, pair.second)
        return {
            "paths": [self.paths[row] for row in both],
            "classes": [self.classes[self.labels[row]] for row in both],
            "splits": [str(self.sides[row]) for row in both],
            "similarity": round(pair.similarity, 4),
        }


def _leakage(pairs: Sequence[SimilarPair], names: _Names, outside: int) -> Finding:
    held_out = {row for p in pairs for row in (p.first, p.second) if names.sides[row] != "train"}
    share = len(held_out) / max(outside, 1)
    first = pairs[0]
    return Finding(
        rule="SimilarAcrossSplits",
        where="",
        severity=Severity.WARNING if share >= LEAKING else Severity.INFO,
        title=(
            f"{len(held_out)} of {outside} validation and test photos ({share:.1%}) "
            f"{'shows' if len(held_out) == 1 else 'show'} the same scene as a photo of another "
            "split."
        ),
        causes=(
            Cause(
                text="Photos taken together, such as frames of a burst or a video, were divided.",
                fix=(
                    "Keep them together: name what they share with --group (a folder level, a "
                    "column or a pattern of the file name), or take one of each pair out."
                ),
                score=0.8,
                evidence=(
                    f"The likest pair, cosine {first.similarity:.3f}: "
                    f"{names.described(first.first)} and {names.described(first.second)}."
                ),
            ),
        ),
        count=len(pairs),
        measured=share,
        threshold=LEAKING,
        examples=names.examples(pairs),
        plot=names.plot(pairs),
    )


def _labels(pairs: Sequence[SimilarPair], names: _Names) -> Finding:
    first = pairs[0]
    return Finding(
        rule="SimilarWithDifferentLabels",
        where="",
        severity=Severity.WARNING,
        title=(
            f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} of photos show the same scene "
            "but carry different labels."
        ),
        causes=(
            Cause(
                text="One of the two labels is wrong.",
                fix="Look at each pair listed, and move or take out the photo labelled wrongly.",
                score=0.7,
                evidence=(
                    f"The likest pair, cosine {first.similarity:.3f}: "
                    f"{names.described(first.first)} and {names.described(first.second)}."
                ),
            ),
            Cause(
                text="The photo shows things of both classes.",
                fix="Crop each photo to the thing it is labelled with, or take the pair out.",
                score=0.3,
            ),
        ),
        count=len(pairs),
        measured=float(len(pairs)),
        threshold=0.0,
        examples=names.examples(pairs),
        plot=names.plot(pairs),
    )


def _repeats(pairs: Sequence[SimilarPair], names: _Names, photos: int) -> Finding:
    rows = {row for pair in pairs for row in (pair.first, pair.second)}
    return Finding(
        rule="SimilarPhotos",
        where="",
        severity=Severity.INFO,
        title=(
            f"{len(rows)} of {photos} photos ({len(rows) / photos:.1%}) show the same scene as "
            "another photo of their split and class."
        ),
        causes=(
            Cause(
                text="Several photos of one scene were collected.",
                fix=(
                    "Nothing has to be done. They teach little more than one of them, so prefer "
                    "new scenes when you collect further photos."
                ),
                score=0.8,
                evidence=f"The likest pair has cosine {pairs[0].similarity:.3f}.",
            ),
        ),
        count=len(pairs),
        measured=len(rows) / photos,
        examples=names.examples(pairs),
        plot=names.plot(pairs),
    )
