"""Classes that the model gets wrong far more often than the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.findings import Cause, Finding, Severity
from houndsight.quality.result import Result
from houndsight.quality.significance import holm, more_often
from houndsight.wording import plural

__all__ = ["weak_classes"]

LEVEL = 0.05
LEAST_EXCESS = 0.15
"""Share of a class's photos that are wrong beyond the rate of all others."""

LEAST_PHOTOS = 3
FEW = 0.5
"""A class with less than this times the median of training photos has few."""


def weak_classes(result: Result) -> list[Finding]:
    """A finding for each class whose recall is significantly low (Fisher's exact test
    against all other classes, Holm)."""
    labels = np.asarray(result.labels)
    counts = np.bincount(labels, minlength=len(result.classes))
    mistakes = np.bincount(labels[result.wrong], minlength=len(result.classes))
    candidates = [i for i in range(len(counts)) if counts[i] >= LEAST_PHOTOS]
    rates = {i: _others(i, counts, mistakes) for i in candidates}
    photos, wrong = int(counts.sum()), int(mistakes.sum())
    p_values = holm(
        [
            more_often(mistakes[i], counts[i], wrong - mistakes[i], photos - counts[i])
            for i in candidates
        ]
    )
    weak = [
        (p, i)
        for p, i in zip(p_values, candidates, strict=True)
        if p <= LEVEL and mistakes[i] / counts[i] - rates[i] >= LEAST_EXCESS
    ]
    return [
        _finding(result, i, int(mistakes[i]), int(counts[i]), rates[i]) for _, i in sorted(weak)
    ]


def _others(class_index: int, counts: npt.NDArray[Any], mistakes: npt.NDArray[Any]) -> float:
    """The rate of mistakes in all other classes."""
    others = counts.sum() - counts[class_index]
    return float((mistakes.sum() - mistakes[class_index]) / max(others, 1))


def _finding(result: Result, class_index: int, mistakes: int, count: int, rate: float) -> Finding:
    name = result.classes[class_index]
    rows = np.flatnonzero((np.asarray(result.labels) == class_index) & result.wrong)
    return Finding(
        rule="WeakClass",
        where=name,
        severity=Severity.WARNING,
        title=(
            f"{name} is recognised in {count - mistakes} of {count} photos "
            f"({1 - mistakes / count:.0%}); the other classes in {1 - rate:.0%}."
        ),
        causes=_causes(result, class_index, rows),
        count=mistakes,
        measured=1 - mistakes / count,
        threshold=1 - rate,
        examples=result.examples(rows),
        plot={"class": name, "photos": count, "mistakes": mistakes},
    )


def _causes(result: Result, class_index: int, rows: npt.NDArray[Any]) -> tuple[Cause, ...]:
    name = result.classes[class_index]
    causes = []
    train = result.train_count(class_index)
    if train is not None:
        median = float(np.median([c for c in result.train_counts if c > 0] or [0]))
        if train < FEW * median or train < 10:
            causes.append(
                Cause(
                    text=f"{name} has too few training photos.",
                    fix=f"Add training photos of {name}, {max(int(median), 20)} or more.",
                    score=0.8,
                    evidence=f"It has {train}; half of the classes have {median:.0f} or more.",
                )
            )
    given = np.bincount(result.predicted[rows], minlength=len(result.classes))
    other = int(given.argmax())
    if given[other] >= max(2, 0.5 * len(rows)):
        causes.append(
            Cause(
                text=f"{name} looks like {result.classes[other]} to the model.",
                fix=(
                    f"Add photos that show what tells {name} from {result.classes[other]}, check "
                    "the labels of both, or merge them if the difference does not matter."
                ),
                score=0.6,
                evidence=f"{given[other]} of {len(rows)} mistakes were {result.classes[other]}.",
            )
        )
    spread = int(np.count_nonzero(given))
    # Mistakes that all went to one class say nothing of variety.
    if spread > 1 or not causes:
        causes.append(
            Cause(
                text=f"The photos of {name} are more varied, or their labels less certain.",
                fix="Look at the photos listed; correct wrong labels, and add photos like the "
                "others.",
                score=0.3,
                evidence=f"Its {plural(len(rows), 'mistake')} went to "
                f"{plural(spread, 'other class', 'other classes')}.",
            )
        )
    return tuple(causes)
