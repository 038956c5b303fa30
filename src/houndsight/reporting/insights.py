"""Measurements made into plain sentences: how good the model is, and why it is not better."""

from __future__ import annotations

from houndsight.reporting.document import Remedy, Verdict
from houndsight.reporting.measurements import Measurements
from houndsight.reporting.remedies import diverged, errors, remedies, remedy
from houndsight.reporting.standing import SPLIT_WORDS, Standing, standing
from houndsight.reporting.text import clean, count, percent, percent_range
from houndsight.runs import RunStatus

__all__ = ["judge"]


def judge(m: Measurements) -> Verdict:
    """The verdict on a run, with up to three causes when it is not good."""
    s = standing(m)
    if s is None:
        return _unfinished(m)
    level = _level(m, s)
    causes = [] if level == "good" else remedies(m, s)
    text = f"{_sentence(s)} {_second(m, s, level)}".strip()
    label = {"good": "Good", "soso": "So-so", "poor": "Poor"}[level]
    if not m.finished:
        text = f"{_status_sentence(m)} {text}"
    return Verdict(level=level, label=label, text=text, remedies=tuple(causes[:3]))


# -- the level and the sentence -------------------------------------------------------------


def _level(m: Measurements, s: Standing) -> str:
    """Thresholds are ours: 0.4 and 0.75 of the way from guessing to perfect."""
    if not s.beats_baseline or s.score < 0.4:
        return "poor"
    if s.score < 0.75 or s.high - s.low > 0.2 or errors(m):
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
    if errors(m):
        return "A finding below says why this figure cannot be trusted as it stands."
    if level == "soso" and s.high - s.low > 0.2:
        return "So few photos were evaluated that the true figure may be far from it."
    if level == "good" and s.ece is not None and s.ece <= 0.05:
        return f"Its confidence can be taken at its word: it is off by {percent(s.ece)} on average."
    return ""


def _unfinished(m: Measurements) -> Verdict:
    label = {"running": "Still running", "stopped": "Stopped", "failed": "Failed"}
    causes = [remedy(f) for f in errors(m)[:2]]
    causes += filter(None, [diverged(m)])
    if m.status in (RunStatus.FAILED, RunStatus.STOPPED):
        causes.append(_resumption(m))
    return Verdict(
        level="poor" if m.status == RunStatus.FAILED else "unknown",
        label=label.get(m.status, "Not evaluated"),
        text=_status_sentence(m) + " No model has been evaluated.",
        remedies=tuple(causes[:3]),
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
