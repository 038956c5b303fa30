"""Photos whose label the model confidently disputes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.errors import DataError
from houndsight.findings import Cause, Finding, Severity

__all__ = ["Dispute", "disputed_labels", "find_disputes"]

LEAST_CONFIDENCE = 0.8
MOST_DOUBT = 0.02
"""The disputing class is this likely at least, the given label at most. With 240 of 4,800 labels
of dog photos changed at random (ResNet-50, 4 folds) 174 photos are disputed, 151 of them changed
ones; of the labels as they came 60 are. At 0.5 and 1.0 it is 387, 183 and 249."""

SHOWN = 200
EXAMPLES = 20
MANY = 0.03
"""From this share of the photos on, the labels as a whole are in doubt."""


@dataclass(frozen=True)
class Dispute:
    """One photo: the label it has and the one the model would give it."""

    row: int
    given: int
    suggested: int
    given_probability: float
    suggested_probability: float


def find_disputes(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> list[Dispute]:
    """The photos with a probably wrong label, the most doubtful first.

    Confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating
    Uncertainty in Dataset Labels") by cleanlab, pruned by noise rate; of those the ones the model
    is also sure of, since a finding asks a person to look at a photo.

    Args:
        probabilities: `(n, classes)`, by models that have not seen the photo, calibrated.
        labels: `(n,)`, class indices.

    Raises:
        DataError: the rows do not fit together.
    """
    labels = np.asarray(labels)
    if len(labels) != len(probabilities):
        raise DataError(
            f"There are {len(probabilities)} rows of probabilities and {len(labels)} labels; "
            "there must be one label a row."
        )
    present, dense = np.unique(labels, return_inverse=True)
    if len(present) < 2 or len(labels) < 2 * len(present):
        return []
    rows = np.asarray(probabilities, np.float64)[:, present]
    rows = rows / np.maximum(rows.sum(1, keepdims=True), 1e-12)
    suspects = np.flatnonzero(_confident_learning(rows, dense))
    disputes = [_dispute(int(row), rows[row], int(dense[row]), present) for row in suspects]
    sure = [d for d in disputes if d.suggested_probability >= LEAST_CONFIDENCE]
    sure = [d for d in sure if d.given_probability <= MOST_DOUBT]
    return sorted(sure, key=lambda d: (d.given_probability - d.suggested_probability, d.row))


def disputed_labels(
    probabilities: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    *,
    paths: Sequence[str],
    classes: Sequence[str],
    splits: Sequence[str] | None = None,
) -> list[Finding]:
    """One finding with the photos whose label the model disputes, or none.

    Args:
        probabilities: `(n, classes)`, by models that have not seen the photo, calibrated.
        labels: `(n,)`, class indices.
        paths: `(n,)`, for people.
        classes: readable names by class index.
        splits: `(n,)`; named where it matters, since a wrong label in the test split is a wrong
            figure.

    Raises:
        DataError: the rows do not fit together.
    """
    disputes = find_disputes(probabilities, labels)
    if not disputes:
        return []
    share = len(disputes) / len(labels)
    first = disputes[0]
    tested = sum(1 for d in disputes if splits is not None and splits[d.row] == "test")
    beside = f", {tested} of them test photos" if tested else ""
    return [
        Finding(
            rule="DisputedLabels",
            where="",
            severity=Severity.WARNING if share >= MANY or tested else Severity.INFO,
            title=(
                f"The model disputes the label of {len(disputes)} of {len(labels)} photos "
                f"({share:.1%}){beside}."
            ),
            causes=(_mislabelled(first, paths, classes), _ambiguous(disputes, classes)),
            count=len(disputes),
            measured=share,
            threshold=MANY,
            examples=tuple(paths[d.row] for d in disputes[:EXAMPLES]),
            plot={"photos": [_row(d, paths, classes) for d in disputes[:SHOWN]]},
        )
    ]


def _confident_learning(
    probabilities: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    from cleanlab.filter import find_label_issues  # slow to import

    suspects: npt.NDArray[np.bool_] = find_label_issues(
        labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1
    )
    return suspects


def _dispute(
    row: int, probabilities: npt.NDArray[np.float64], given: int, present: npt.NDArray[Any]
) -> Dispute:
    suggested = int(probabilities.argmax())
    return Dispute(
        row=row,
        given=int(present[given]),
        suggested=int(present[suggested]),
        given_probability=float(probabilities[given]),
        suggested_probability=float(probabilities[suggested]),
    )


def _mislabelled(first: Dispute, paths: Sequence[str], classes: Sequence[str]) -> Cause:
    return Cause(
        text="The photos are probably labelled wrongly, or show something of another class.",
        fix=(
            "Look at the photos listed, move the wrong ones to their class or take them out, "
            "and run again; photos already computed are not computed again."
        ),
        score=0.7,
        evidence=(
            f"{paths[first.row]} is labelled {classes[first.given]} "
            f"({first.given_probability:.1%}), but a model that has not seen it says "
            f"{classes[first.suggested]} ({first.suggested_probability:.1%})."
        ),
    )


def _ambiguous(disputes: Sequence[Dispute], classes: Sequence[str]) -> Cause:
    pairs: dict[tuple[int, int], int] = {}
    for dispute in disputes:
        pair = (dispute.given, dispute.suggested)
        pairs[pair] = pairs.get(pair, 0) + 1
    (given, suggested), most = max(pairs.items(), key=lambda item: item[1])
    return Cause(
        text="Two classes overlap, or photos show things of both.",
        fix="Say in writing what tells the classes apart, and merge them if nothing does.",
        score=0.3,
        evidence=(
            f"The most frequent dispute, {most} of {len(disputes)}: labelled {classes[given]}, "
            f"looks like {classes[suggested]}."
        ),
    )


def _row(dispute: Dispute, paths: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    return {
        "path": paths[dispute.row],
        "given": classes[dispute.given],
        "suggested": classes[dispute.suggested],
        "given_probability": round(dispute.given_probability, 4),
        "suggested_probability": round(dispute.suggested_probability, 4),
    }
