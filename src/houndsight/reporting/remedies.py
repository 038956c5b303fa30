"""Why a model is not better, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from houndsight.findings import Finding, Severity, State
from houndsight.reporting.classes import class_figures, confused_pairs, confusion_matrix
from houndsight.reporting.document import Remedy
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.standing import Standing
from houndsight.reporting.text import count, percent, said, sorted_out
from houndsight.wording import plural

__all__ = ["SET_ASIDE", "diverged", "errors", "remedies", "remedy"]

SET_ASIDE = frozenset({"ContradictoryLabels", "SamePhotoUnderTwoLabels"})
"""Rules about photos that were set aside: what was neither trained on nor evaluated does not make
a figure less true, however grave it is for the folder."""

PROBE = "linear probe"


def remedies(m: Measurements, s: Standing) -> list[Remedy]:
    """Why the model is not better, the gravest first, with what to do about it."""
    found = [remedy(f) for f in errors(m)[:2]]
    found += filter(None, [diverged(m)])
    found += filter(None, (reason(m, s) for reason in _REASONS))
    if not found:
        found.append(_separability(m, s))
    return found


def remedy(finding: Finding) -> Remedy:
    """The likeliest cause of a finding."""
    first = max(finding.causes, key=lambda cause: cause.score)
    return Remedy(
        cause=said(finding.title, limit=400),
        fix=said(first.fix, limit=500),
        evidence=said(first.text, limit=400),
    )


def diverged(m: Measurements) -> Remedy | None:
    """Whether the loss stopped being a number."""
    losses = [row.get("loss") for row in m.curves if row.get("split") == "train"]
    bad = sum(1 for loss in losses if isinstance(loss, float) and not math.isfinite(loss))
    if not bad:
        return None
    return Remedy(
        cause="The training diverged: its loss stopped being a number.",
        fix="Lower the learning rate by a factor of ten, or train in full precision.",
        evidence=f"{plural(bad, 'measurement')} of the training loss not finite",
    )


def _collapse(m: Measurements, s: Standing) -> Remedy | None:
    rows = m.evaluated()
    if rows is None or s.baseline is None:
        return None
    told = np.bincount(rows.predicted, minlength=max(len(m.classes), 1))
    share, name = float(told.max() / len(rows)), m.class_name(int(told.argmax()))
    if share < 0.9 or share < s.baseline + 0.1:
        return None
    return Remedy(
        cause=f"The model answers “{name}” for nearly everything.",
        fix="Let the search weigh the classes (balance = weights), and check the learning rate.",
        evidence=f"{percent(share)} of the answers",
    )


def _underfit(m: Measurements, s: Standing) -> Remedy | None:
    train = m.metrics("train").get("top1")
    if train is None or train > s.top1 + 0.1 or s.score > 0.6:
        return None
    return Remedy(
        cause="The model does not fit even the photos it was trained on.",
        fix="Check that the labels belong to the photos; then give it more: a higher resolution, "
        "another backbone, or more minutes so that the last stage is fine-tuned.",
        evidence=f"top-1 on the training photos is {percent(train)}",
    )


def _overfit(m: Measurements, s: Standing) -> Remedy | None:
    train = m.metrics("train").get("top1")
    if train is None or train < s.top1 + 0.15:
        return None
    return Remedy(
        cause="The model knows its training photos far better than new ones: it memorises.",
        fix="Add photos, above all of the weakest classes; raise weight decay or label smoothing.",
        evidence=f"top-1 {percent(train)} on training photos, {percent(s.top1)} on new ones",
    )


def _optimistic(m: Measurements, s: Standing) -> Remedy | None:
    valid = m.metrics("valid").get("top1")
    if valid is None or s.split != "test" or valid < max(s.high, s.top1 + 0.05):
        return None
    return Remedy(
        cause="Validation promised more than the test kept: the test photos differ in kind, or "
        "photos of one origin stand in training and validation.",
        fix="Name what belongs together with --group, so that a patient, camera or video never "
        "stands on both sides.",
        evidence=f"top-1 {percent(valid)} on validation, {percent(s.top1)} on test",
    )


def _few_photos(m: Measurements, _s: Standing) -> Remedy | None:
    train = m.counts.get("train")
    if m.cross_validated and m.counts:
        train = sum(m.counts.values(), np.zeros(len(m.classes), np.int64))
    if train is None or not len(train) or float(np.median(train)) >= 20:
        return None
    return Remedy(
        cause="There are few photos to learn from.",
        fix="Collect at least 50 photos a class; the weakest classes in the table below first.",
        evidence=f"half of the classes have {count(int(np.median(train)))} training photos or less",
    )


def _few_evaluated(_m: Measurements, s: Standing) -> Remedy | None:
    if s.high - s.low <= 0.2 or not s.photos:
        return None
    return Remedy(
        cause="Too few photos were evaluated to know how good the model is.",
        fix="Hold more photos back for the test, or evaluate by repeated k-fold.",
        evidence=f"{plural(s.photos, 'photo')} leave an interval of {percent(s.high - s.low, 0)}",
    )


def _neglected(m: Measurements, s: Standing) -> Remedy | None:
    rows = m.evaluated()
    if rows is None or len(m.classes) < 2:
        return None
    figures = class_figures(confusion_matrix(rows, len(m.classes)))
    never = [m.class_name(f.index) for f in figures if f.count >= 3 and not f.recall]
    gap = s.top1 - s.balanced if s.balanced is not None else 0.0
    if not never and gap < 0.08:
        return None
    told = f"{sorted_out(never)} never recognised; " if never else ""
    return Remedy(
        cause="Rare classes are neglected for frequent ones.",
        fix="Let the search weigh the classes (balance = weights); add photos of the rare ones.",
        evidence=told
        + (f"balanced accuracy {percent(s.balanced)}" if s.balanced is not None else "").strip(),
    )


def _one_pair(m: Measurements, _s: Standing) -> Remedy | None:
    rows = m.evaluated()
    if rows is None or len(m.classes) < 2:
        return None
    matrix = confusion_matrix(rows, len(m.classes))
    pairs, wrong = confused_pairs(matrix, 1), int(matrix.sum() - np.trace(matrix))
    much = 0.25 if len(m.classes) > 2 else 0.65
    if not pairs or wrong < 10 or pairs[0].count < much * wrong:
        return None
    true, told = m.class_name(pairs[0].true), m.class_name(pairs[0].predicted)
    return Remedy(
        cause=f"Much of what is wrong is one confusion: “{true}” taken for “{told}”.",
        fix=_SEPARATE if len(m.classes) > 2 else f"{_LOOK} add photos of “{true}” like them.",
        evidence=f"{plural(pairs[0].count, 'photo')}, {percent(pairs[0].count / wrong, 0)} of all "
        "mistakes",
    )


_LOOK = "Look at the worst of these photos below: correct labels that are wrong, and"
_SEPARATE = (
    "Look at these photos below: merge the two classes if people cannot tell them apart, else add "
    "photos that show the difference."
)
_CONTRADICTIONS = {
    "DisputedLabels",
    "NearDuplicatesUnderTwoLabels",
    "SimilarWithDifferentLabels",
}
"""Rules that find labels which cannot all be right, among the photos that were used."""


def _contradiction(m: Measurements, _s: Standing) -> Remedy | None:
    found = [
        f
        for f in m.findings
        # Errors are causes already.
        if f.rule in _CONTRADICTIONS and f.severity == Severity.WARNING and f.state == State.OPEN
    ]
    if not found:
        return None
    worst = max(found, key=lambda f: f.count)
    return Remedy(
        cause="Some labels contradict each other, and no model can be right on both.",
        fix="Go through the photos that the findings below name and correct their labels; then "
        "run again, which computes only what has changed.",
        evidence=said(worst.title),
    )


def _separability(m: Measurements, s: Standing) -> Remedy:
    tuned = m.results.get("model") == "fine-tuned"
    further = "" if tuned else ", or give more --minutes so that the last stage is fine-tuned"
    pairs = "; the confused pairs below show which classes overlap" if len(m.classes) > 2 else ""
    return Remedy(
        cause="Even fine-tuned, the network does not tell these classes apart well enough."
        if tuned
        else "The backbone's features do not tell these classes apart well enough.",
        fix=f"Try another --backbone or a higher resolution (--size){further}{pairs}.",
        evidence=f"{percent(s.score, 0)} of the way from guessing to perfect",
    )


_REASONS: tuple[Callable[[Measurements, Standing], Remedy | None], ...] = (
    _collapse,
    _underfit,
    _overfit,
    _optimistic,
    _one_pair,
    _neglected,
    _contradiction,
    _few_photos,
    _few_evaluated,
)


def errors(m: Measurements) -> list[Finding]:
    """Open findings that make the figures untrustworthy."""
    unused = "fine-tuning" if m.results.get("model") == PROBE else None
    return [
        f
        for f in m.findings
        if f.severity == Severity.ERROR and f.state == State.OPEN and f.rule not in SET_ASIDE
        # A training that was not kept says nothing of the model that was.
        if f.where.partition(":")[0] != unused
    ]
