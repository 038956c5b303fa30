"""A model that learnt too little, or learnt its training photos by heart."""

from __future__ import annotations

import numpy as np

from houndsight.findings import Cause, Finding, Severity
from houndsight.quality.result import Result
from houndsight.quality.significance import at_least

__all__ = ["no_better_than_guessing", "overfitted", "underfitted"]

POOR_TOP1 = 0.7
UNDERFIT_GAP = 0.10
"""Training and held-out top-1 this close say that more of the same training does not help."""

OVERFIT_GAP = 0.25
"""A head on frozen features fits nearly all its training photos; a gap below this is usual."""

ENOUGH = 30
LEVEL = 0.01


def no_better_than_guessing(result: Result) -> list[Finding]:
    """A finding when top-1 is not significantly above always guessing the commonest class."""
    counts = np.bincount(np.asarray(result.labels), minlength=len(result.classes))
    if result.count < ENOUGH or not counts.max() < result.count:
        return []
    guess = float(counts.max() / result.count)
    right = int((~result.wrong).sum())
    if at_least(right, result.count, guess) <= LEVEL:
        return []
    commonest = result.classes[int(counts.argmax())]
    return [
        Finding(
            rule="NoBetterThanGuessing",
            where="",
            severity=Severity.ERROR,
            title=(
                f"Top-1 is {result.top1:.1%}, not significantly better than the {guess:.1%} of "
                f"always saying {commonest}."
            ),
            causes=_guessing_causes(result),
            measured=result.top1,
            threshold=guess,
        )
    ]


def _guessing_causes(result: Result) -> tuple[Cause, ...]:
    learnt = result.train_metrics.get("top1")
    evidence = f"Top-1 on the training photos is {learnt:.1%}." if learnt is not None else ""
    labels = Cause(
        text="The labels do not go with the photos: files were shuffled, or a column is wrong.",
        fix="Look at ten photos of each class in the report and check that the labels are theirs.",
        score=0.6,
        evidence=evidence,
    )
    invisible = Cause(
        text="What tells the classes apart cannot be seen at this size or by this backbone.",
        fix="Raise --size, crop the photos to what matters, or try another --backbone.",
        score=0.5,
        evidence=evidence,
    )
    return (labels, invisible)


def underfitted(result: Result) -> list[Finding]:
    """A finding when even the training photos are not fitted; needs their figures."""
    learnt = result.train_metrics.get("top1")
    if learnt is None or result.count < ENOUGH or no_better_than_guessing(result):
        return []
    if learnt >= POOR_TOP1 or learnt - result.top1 >= UNDERFIT_GAP:
        return []
    evidence = f"Top-1 is {learnt:.1%} on the training photos and {result.top1:.1%} on the others."
    return [
        Finding(
            rule="UnderfittedModel",
            where="",
            severity=Severity.WARNING,
            title=f"The model fits only {learnt:.1%} of its own training photos.",
            causes=(
                Cause(
                    text="The backbone's features do not separate these classes.",
                    fix="Fine-tune (give more --minutes), raise --size, or try another --backbone.",
                    score=0.7,
                    evidence=evidence,
                ),
                Cause(
                    text="Many labels are wrong, or classes overlap.",
                    fix="See the disputed labels and confused classes of this report first.",
                    score=0.4,
                    evidence=evidence,
                ),
            ),
            measured=learnt,
            threshold=POOR_TOP1,
        )
    ]


def overfitted(result: Result) -> list[Finding]:
    """A finding when training photos are fitted far better than others; needs their figures."""
    learnt = result.train_metrics.get("top1")
    if learnt is None or result.count < ENOUGH or no_better_than_guessing(result):
        return []
    gap = learnt - result.top1
    if gap < OVERFIT_GAP:
        return []
    evidence = f"Top-1 is {learnt:.1%} on the training photos and {result.top1:.1%} on the others."
    few = ""
    if len(result.train_counts):
        few = f" The classes have {np.median(np.asarray(result.train_counts)):.0f} training photos."
    return [
        Finding(
            rule="OverfittedModel",
            where="",
            severity=Severity.WARNING,
            title=f"The model does {100 * gap:.0f} points better on its own training photos.",
            causes=(
                Cause(
                    text="There are too few training photos for how varied the classes are.",
                    fix="Add training photos, above all of the weak classes of this report.",
                    score=0.7,
                    evidence=evidence + few,
                ),
                Cause(
                    text="The training photos differ from the others: other days, cameras, places.",
                    fix="Mix the sources over the splits; keep what belongs together by --group.",
                    score=0.4,
                    evidence=evidence,
                ),
                Cause(
                    text="The model is regularised too little.",
                    fix="Search with more trials, and use MixUp, CutMix or RandAugment.",
                    score=0.3,
                    evidence=evidence,
                ),
            ),
            measured=gap,
            threshold=OVERFIT_GAP,
        )
    ]
