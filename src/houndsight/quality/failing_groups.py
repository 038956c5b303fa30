"""Groups of photos that the model gets wrong more often than their classes explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.findings import Cause, Finding, Severity
from houndsight.quality.significance import holm, stratified_excess

__all__ = ["Group", "category_groups", "cluster_groups", "failing_groups", "slices"]

LEVEL = 0.01
"""Of the family of all groups tested, after Holm's correction."""

LEAST_PHOTOS = 10
LEAST_EXCESS = 0.10
"""Share of the group's photos that are wrong beyond what its classes explain."""

MOST_GROUPS = 2000
EXAMPLES = 20

FIXES = {
    "brightness": "Add photos with such light, or switch on colour augmentation.",
    "sharpness": "Add photos as sharp or blurred as these, or take unusable ones out.",
    "size": "Add photos of such a size, or leave out those too small to show what matters.",
}


@dataclass(frozen=True)
class Group:
    """Some photos by what they have in common."""

    column: str
    """What divides the photos: `group`, `brightness`, `cluster`."""
    value: str
    """Which part it is, in words."""
    rows: npt.NDArray[np.int64]


def failing_groups(
    predicted: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    groups: Sequence[Group],
    *,
    paths: Sequence[str],
    level: float = LEVEL,
) -> list[Finding]:
    """A finding for each group that fails, the gravest first.

    A group fails when its photos are wrong more often than other photos of the same classes
    (exact stratified test, Holm's correction over all groups), by ten points at least.

    Args:
        predicted: `(n,)`, class indices by a model that has not seen the photos.
        labels: `(n,)`.
        groups: what to look at; rows are positions in these arrays.
        paths: `(n,)`, for people.
        level: chance of any false alarm.
    """
    labels = np.asarray(labels)
    wrong = np.asarray(predicted) != labels
    tested = [_tested(wrong, labels, group) for group in _worth_testing(groups, len(labels))]
    adjusted = holm([each.p_value for each in tested])
    failing = [
        (each, p)
        for each, p in zip(tested, adjusted, strict=True)
        if p <= level and each.excess >= LEAST_EXCESS
    ]
    failing.sort(key=lambda item: (item[1], -item[0].excess))
    return [_finding(each, p, wrong, paths) for each, p in failing]


def slices(column: str, values: npt.NDArray[Any], *, parts: int = 5, unit: str = "") -> list[Group]:
    """The lowest and highest of `parts` equal shares of photos by a number `(n,)`."""
    values = np.asarray(values, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < parts * LEAST_PHOTOS:
        return []
    low, high = np.quantile(values[known], [1 / parts, 1 - 1 / parts])
    if low == high:
        return []
    under, over = known[values[known] <= low], known[values[known] >= high]
    return [
        Group(column, f"at most {low:.4g}{unit}", under),
        Group(column, f"at least {high:.4g}{unit}", over),
    ]


def category_groups(column: str, values: Sequence[str | None]) -> list[Group]:
    """One group for each value of a column; photos without one are in none."""
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        if value:
            rows.setdefault(value, []).append(row)
    if len(rows) < 2:
        return []
    return [Group(column, value, np.array(found)) for value, found in rows.items()]


def cluster_groups(
    features: npt.NDArray[Any], *, clusters: int | None = None, seed: int = 0
) -> list[Group]:
    """Photos that look alike to the backbone: k-means on unit-length features `(n, d)`."""
    from sklearn.cluster import MiniBatchKMeans

    rows = np.asarray(features, np.float32)
    count = clusters or min(50, len(rows) // 50)
    if count < 2:
        return []
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    model = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=1024)
    numbers = model.fit_predict(unit)
    found = [np.flatnonzero(numbers == number) for number in range(count)]
    return [Group("cluster", f"look-alikes {n + 1}", g) for n, g in enumerate(found) if len(g)]


@dataclass(frozen=True)
class _Tested:
    group: Group
    mistakes: int
    expected: float
    p_value: float

    @property
    def excess(self) -> float:
        return (self.mistakes - self.expected) / len(self.group.rows)


def _worth_testing(groups: Sequence[Group], photos: int) -> list[Group]:
    """Groups large enough to say something; the largest when there are very many."""
    fitting = [g for g in groups if LEAST_PHOTOS <= len(g.rows) < photos]
    return sorted(fitting, key=lambda g: -len(g.rows))[:MOST_GROUPS]


def _tested(wrong: npt.NDArray[np.bool_], labels: npt.NDArray[Any], group: Group) -> _Tested:
    inside = np.zeros(len(labels), bool)
    inside[group.rows] = True
    expected, p_value = stratified_excess(wrong, inside, labels)
    return _Tested(group, int(wrong[group.rows].sum()), expected, p_value)


def _finding(
    tested: _Tested, p_value: float, wrong: npt.NDArray[np.bool_], paths: Sequence[str]
) -> Finding:
    group, count = tested.group, len(tested.group.rows)
    named = "" if group.column == "cluster" else f"{group.column} "
    mistaken = group.rows[wrong[group.rows]]
    return Finding(
        rule="FailingGroup",
        where=f"{group.column}: {group.value}",
        severity=Severity.WARNING,
        title=(
            f"Photos with {named}{group.value} are wrong {tested.mistakes} times of {count} "
            f"({tested.mistakes / count:.0%}); their classes explain "
            f"{tested.expected / count:.0%}."
        ),
        causes=_causes(tested, p_value),
        count=tested.mistakes,
        measured=tested.mistakes / count,
        threshold=tested.expected / count,
        examples=tuple(paths[row] for row in mistaken[:EXAMPLES]),
        plot={
            "column": group.column,
            "value": group.value,
            "photos": count,
            "mistakes": tested.mistakes,
            "expected": round(tested.expected, 3),
            "p_value": p_value,
        },
    )


def _causes(tested: _Tested, p_value: float) -> tuple[Cause, ...]:
    evidence = (
        f"Other photos of the same classes would give {tested.expected:.1f} mistakes; so many "
        f"have a chance of {p_value:.2g}."
    )
    few = Cause(
        text="The training photos hold too few photos like these.",
        fix=FIXES.get(tested.group.column, "Add photos like those listed to the training split."),
        score=0.6,
        evidence=evidence,
    )
    labels = Cause(
        text="The photos of this group were labelled by another rule.",
        fix="Look at the photos listed and correct their labels where they are wrong.",
        score=0.3,
        evidence=evidence,
    )
    return (few, labels)
