"""Measurements made into plain sentences: how good the model is, and why it is not better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from houndsight.findings import Finding, Severity, State
from houndsight.reporting.classes import class_figures, confused_pairs, confusion_matrix
from houndsight.reporting.document import Remedy, Verdict
from houndsight.reporting.measurements import Measurements, Predictions
from houndsight.reporting.text import clean, count, percent, percent_range, sorted_out
from houndsight.runs import RunStatus
from houndsight.wording import plural

__all__ = ["Standing", "judge", "standing", "wilson_interval"]

SPLIT_WORDS = {"test": "test", "valid": "validation", "train": "training"}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the headline is made from; None where it is not known."""

    split: str
    top1: float
    low: float
    high: float
    photos: int
    baseline: float | None
    """Share of the most frequent class: what a model gets that always names it."""
    frequent: str
    balanced: float | None
    classes: int
    ece: float | None
    cross_validated: bool = False

    @property
    def score(self) -> float:
        """How far from guessing (0) to perfect (1), by photos or by classes, the worse of both."""
        by_photos = _skill(self.top1, self.baseline or 0.0)
        if self.balanced is None or self.classes < 2:
            return by_photos
        return min(by_photos, _skill(self.balanced, 1 / self.classes))

    @property
    def beats_baseline(self) -> bool:
        """Whether the whole interval lies above always naming the most frequent class."""
        return self.baseline is None or self.low > self.baseline


def wilson_interval(right: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share `right / n`: E. B. Wilson, JASA 22, 1927."""
    if n <= 0:
        return 0.0, 1.0
    share, z2 = right / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def standing(m: Measurements) -> Standing | None:
    """The headline figures of a run, from its results or else from its predictions."""
    figures, rows = m.metrics(m.headline), m.evaluated()
    if "top1" in figures:
        top1, photos = float(figures["top1"]), int(figures.get("count", len(rows) if rows else 0))
    elif rows:
        top1, photos = float((rows.labels == rows.predicted).mean()), len(rows)
    else:
        return None
    low, high = figures.get("top1_interval") or wilson_interval(top1 * photos, photos)
    baseline, frequent = _baseline(m, rows)
    return Standing(
        split=m.headline,
        top1=top1,
        low=float(low),
        high=float(high),
        photos=photos,
        baseline=baseline,
        frequent=frequent,
        balanced=figures.get("balanced_accuracy"),
        classes=len(m.classes),
        ece=figures.get("ece"),
        cross_validated=m.cross_validated,
    )


def judge(m: Measurements) -> Verdict:
    """The verdict on a run, with up to three causes when it is not good."""
    s = standing(m)
    if s is None:
        return _unfinished(m)
    level = _level(m, s)
    remedies = [] if level == "good" else _remedies(m, s)
    text = f"{_sentence(s)} {_second(m, s, level)}".strip()
    label = {"good": "Good", "soso": "So-so", "poor": "Poor"}[level]
    if not m.finished:
        text = f"{_status_sentence(m)} {text}"
    return Verdict(level=level, label=label, text=text, remedies=tuple(remedies[:3]))


# -- the level and the sentence -------------------------------------------------------------


def _level(m: Measurements, s: Standing) -> str:
    """Thresholds are ours: 0.4 and 0.75 of the way from guessing to perfect."""
    if not s.beats_baseline or s.score < 0.4:
        return "poor"
    if s.score < 0.75 or s.high - s.low > 0.2 or _errors(m):
        return "soso"
    return "good"


def _sentence(s: Standing) -> str:
    kind = "" if s.cross_validated else f"{SPLIT_WORDS.get(s.split, s.split)} "
    of = f"{count(s.photos)} {kind}photos" if s.photos else "photos"
    held = ", each held out in turn" if s.cross_validated else ""
    text = f"The model is right on {percent(s.top1)} of {of}{held}"
    text += f" (95\u00a0% interval {percent_range(s.low, s.high)})"
    if s.baseline is None:
        return text + "."
    if not s.beats_baseline:
        return (
            f"{text}, which is no better than always answering “{s.frequent}” "
            f"({percent(s.baseline)})."
        )
    return f"{text}; always answering “{s.frequent}” would be right on {percent(s.baseline)}."


def _second(m: Measurements, s: Standing, level: str) -> str:
    if _errors(m):
        return "A finding below says why this figure cannot be trusted as it stands."
    if level == "soso" and s.high - s.low > 0.2:
        return "So few photos were evaluated that the true figure may be far from it."
    if level == "good" and s.ece is not None and s.ece <= 0.05:
        return f"Its confidence can be taken at its word: it is off by {percent(s.ece)} on average."
    return ""


def _unfinished(m: Measurements) -> Verdict:
    label = {"running": "Still running", "stopped": "Stopped", "failed": "Failed"}
    remedies = [_remedy(f) for f in _errors(m)[:2]]
    remedies += filter(None, [_diverged(m)])
    if m.status in (RunStatus.FAILED, RunStatus.STOPPED):
        remedies.append(_resumption(m))
    return Verdict(
        level="poor" if m.status == RunStatus.FAILED else "unknown",
        label=label.get(m.status, "Not evaluated"),
        text=_status_sentence(m) + " No model has been evaluated.",
        remedies=tuple(remedies[:3]),
    )


def _resumption(m: Measurements) -> Remedy:
    failed = m.status == RunStatus.FAILED
    return Remedy(
        cause="Something outside the training ended it." if failed else "It was interrupted.",
        fix=("Put that right and run" if failed else "Run")
        + " the same command again: what is finished is not repeated.",
        evidence=m.reason,
    )


def _status_sentence(m: Measurements) -> str:
    done = list(m.stages)
    after = f" after “{clean(done[-1], limit=60)}”" if done else " before its first stage ended"
    if m.status == RunStatus.RUNNING:
        return f"The run was not finished when this was written: it stood{after}."
    if m.status == RunStatus.COMPLETED:
        return "The run is completed."
    reason = f": {m.reason.rstrip('.')}." if m.reason else "."
    return f"The run {'failed' if m.status == RunStatus.FAILED else 'was stopped'}{after}{reason}"


# -- why it is not better -------------------------------------------------------------------


def _remedies(m: Measurements, s: Standing) -> list[Remedy]:
    found = [_remedy(f) for f in _errors(m)[:2]]
    found += filter(None, [_diverged(m)])
    found += filter(None, (reason(m, s) for reason in _REASONS))
    if not found:
        found.append(_separability(m, s))
    return found


def _remedy(finding: Finding) -> Remedy:
    first = max(finding.causes, key=lambda cause: cause.score)
    return Remedy(
        cause=clean(finding.title, limit=400),
        fix=clean(first.fix, limit=500),
        evidence=clean(first.text, limit=400),
    )


def _diverged(m: Measurements) -> Remedy | None:
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
    if rows is None or len(m.classes) < 3:
        return None
    matrix = confusion_matrix(rows, len(m.classes))
    pairs, wrong = confused_pairs(matrix, 1), int(matrix.sum() - np.trace(matrix))
    if not pairs or wrong < 10 or pairs[0].count < 0.25 * wrong:
        return None
    true, told = m.class_name(pairs[0].true), m.class_name(pairs[0].predicted)
    return Remedy(
        cause=f"Much of what is wrong is one confusion: “{true}” taken for “{told}”.",
        fix="Look at these photos below: merge the two classes if people cannot tell them apart, "
        "else add photos that show the difference.",
        evidence=f"{plural(pairs[0].count, 'photo')}, {percent(pairs[0].count / wrong, 0)} of all "
        "mistakes",
    )


def _separability(_m: Measurements, s: Standing) -> Remedy:
    return Remedy(
        cause="The backbone's features do not tell these classes apart well enough.",
        fix="Try another backbone or a higher resolution, or give more minutes so that the last "
        "stage is fine-tuned; read the confused pairs below for classes that overlap.",
        evidence=f"{percent(s.score, 0)} of the way from guessing to perfect",
    )


_REASONS: tuple[Callable[[Measurements, Standing], Remedy | None], ...] = (
    _collapse,
    _underfit,
    _overfit,
    _optimistic,
    _one_pair,
    _neglected,
    _few_photos,
    _few_evaluated,
)


def _errors(m: Measurements) -> list[Finding]:
    return [f for f in m.findings if f.severity == Severity.ERROR and f.state == State.OPEN]


def _baseline(m: Measurements, rows: Predictions | None) -> tuple[float | None, str]:
    """How often the most frequent class is right among the evaluated photos, and its name."""
    labels = m.counts.get(m.headline) if rows is None else np.bincount(np.maximum(rows.labels, 0))
    if labels is None or not labels.sum():
        return None, ""
    return float(labels.max() / labels.sum()), m.class_name(int(labels.argmax()))


def _skill(value: float, chance: float) -> float:
    return (value - chance) / (1 - chance) if chance < 1 else 0.0
