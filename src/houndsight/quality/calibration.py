"""Confidence that does not mean what it says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from houndsight.findings import Cause, Finding, Severity
from houndsight.quality.result import Result

__all__ = ["poor_calibration"]

MOST_ERROR = 0.05
BINS = 15
RESAMPLES = 200


def poor_calibration(result: Result, *, seed: int = 0) -> list[Finding]:
    """A finding when the expected calibration error is large, and larger than chance makes it.

    With few photos even a perfect model shows an error. So labels are drawn from the model's own
    confidence (consistency resampling, Bröcker and Smith 2007), and only an error above 99 of
    100 of those counts.
    """
    if not result.count:
        return []
    confidence = np.asarray(result.probabilities, np.float64).max(1)
    right = ~result.wrong
    error = _calibration_error(confidence, right)
    random = np.random.default_rng(seed)
    drawn = [
        _calibration_error(confidence, random.random(len(confidence)) < confidence)
        for _ in range(RESAMPLES)
    ]
    chance = float(np.quantile(drawn, 0.99))
    if error <= max(MOST_ERROR, chance):
        return []
    gap = float(confidence.mean() - right.mean())
    return [_finding(result, error, chance, float(confidence.mean()), gap)]


def _finding(result: Result, error: float, chance: float, mean: float, gap: float) -> Finding:
    over = gap > 0
    if abs(gap) < error / 2:
        text = "Confidence is too high for some photos and too low for others."
    else:
        text = f"The model is {'more' if over else 'less'} confident than it is right."
    return Finding(
        rule="PoorCalibration",
        where="",
        severity=Severity.WARNING,
        title=(
            f"Confidence is off by {error:.1%} on average (expected calibration error): the mean "
            f"confidence is {mean:.1%}, top-1 is {result.top1:.1%}."
        ),
        causes=(
            Cause(
                text=text + " The temperature was fitted on photos unlike these, or on too few.",
                fix=(
                    "Make the validation photos like the ones the model will meet, and have a few "
                    "hundred of them; until then do not take the probabilities at their word."
                ),
                score=0.7,
                evidence=(
                    f"A calibrated model would show {chance:.1%} or less on {result.count} photos."
                ),
            ),
        ),
        measured=error,
        threshold=max(MOST_ERROR, chance),
        plot={"mean_confidence": mean, "top1": result.top1},
    )


def _calibration_error(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Naeini et al. 2015, with bins of equal width."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
