"""Steps so large that the network loses more than it learns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import figure, line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    known_scalar,
    learning_rate,
    main_group,
    peak_rate,
    rounded,
    smoothed_loss,
    suggested_rate,
    uniform_loss,
    weight_ratios,
)
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LearningRateTooHigh"]

RISE = 1.4
"""Times the loss of the start, or of a network that knows nothing where that is larger."""
ORDINARY_STEP = 0.02
LARGE_STEP = 0.1
HUGE_STEP = 0.3
HUGE_STEPS = 3
STUCK, RECOVERED = 0.85, 0.5
PASSING_STEPS, PASSING_RISE = 10, 3.0
TURN_FACTOR, TURN_SHARE = 1.5, 0.1
LEAST_STEPS = 10
STUCK_STEPS = 30
EARLY_STEPS = 20
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Measured:
    """What the rule looks at."""

    steps: npt.NDArray[np.int64]
    """(n,) steps of the smoothed loss."""
    loss: Floats
    """(n,)"""
    raw: Floats
    """(n,) the loss before it was smoothed."""
    reference: float
    """The loss of the start, at least that of a network that knows nothing."""
    ignorant: float
    """That of a network that knows nothing, where known, else of the start."""
    ratio_steps: npt.NDArray[np.int64]
    ratios: Floats
    """(m,) sizes of the steps in the median weight."""
    alone: bool
    """Whether a single weight learns: a head on frozen features, a problem without valleys."""

    @property
    def end(self) -> float:
        """Loss of the last tenth."""
        return float(np.median(self.loss[-max(len(self.loss) // 10, 3) :]))

    def largest_step(self, until: int) -> float:
        """The third-largest step up to then; NaN where none is known."""
        sizes = np.sort(self.ratios[self.ratio_steps <= until])
        return float(sizes[-min(3, len(sizes))]) if len(sizes) else math.nan


class LearningRateTooHigh(Rule):
    """The learning rate is too high: steps overshoot, and the loss rises, swings or gets stuck.

    Condition, after ten steps, on the median loss of five steps (or of as many as hold 64
    examples) and on the update's length over the weights' in the median weight, any of:
    the loss rose to 1.4 times its start (or that of a network that knows nothing, where that is
    higher) and steps exceeded 0.02; steps exceeded 0.3 three times; steps exceeded 0.1 within
    the first 20 and after 30 the loss still is no better than 0.85 of knowing nothing; or the loss,
    once low, has risen again to 1.5 times its lowest, by 0.1 of the start and by three standard
    errors (medians of a tenth of the steps), with steps above 0.003. A rise of at most ten
    steps, to less than threefold, that ended below half of the start is passed over, and so is
    any of a head that learns alone on frozen features. It is an error while the loss is no
    better than at the start, else a warning. The rate to try is an estimate: the one at which
    the first steps would have had 0.01 of the weights' length, as they have on healthy
    trainings, or a third of the rate at the lowest loss.

    Source: update ratios from CS231n and TheDeepChecker (TOSEM 2022: healthy from 1e-4 to 1e-1);
    limits measured on healthy and faulty trainings of small networks.
    """

    name = "LearningRateTooHigh"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        series, loss = smoothed_loss(history)
        if len(loss) < LEAST_STEPS:
            return []
        ratios, middle = weight_ratios(history)
        raw = known_scalar(history, "loss")[1]
        start = float(np.median(raw[:3]))
        ignorant = uniform_loss(history.structure) or start
        alone = len(ratios.names) == 1
        seen = _Measured(
            series.steps, loss, raw, max(start, ignorant), ignorant, ratios.steps, middle, alone
        )
        for condition in (_rise, _stuck, _turn, _huge):
            found = condition(seen)
            if found:
                return [self._finding(history, seen, *found)]
        return []

    def _finding(
        self, history: History, seen: _Measured, at: int, what: str, measured: float, limit: float
    ) -> Finding:
        better = _better_rate(history, seen)
        rate = peak_rate(history)
        title = f"{what}{_too_high_by(history, rate, better)}."
        lost = seen.end > STUCK * seen.ignorant
        lines = {"loss": seen.loss}
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.ERROR if lost else Severity.WARNING,
            title=title,
            causes=_causes(history, seen, at, rate, better),
            first_step=at,
            last_step=int(seen.steps[-1]),
            count=int((seen.steps >= at).sum()),
            measured=figure(measured),
            threshold=limit,
            plot=line_plot(
                seen.steps, lines, y_label="loss", threshold=seen.reference, logarithmic=True
            ),
        )


Found = tuple[int, str, float, float]


def _rise(seen: _Measured) -> Found | None:
    limit = RISE * seen.reference
    high = np.flatnonzero(seen.loss > limit)
    if not len(high):
        return None
    peak = int(np.argmax(seen.loss))
    largest = seen.largest_step(int(seen.steps[peak]))
    passing = len(high) <= PASSING_STEPS and float(seen.loss.max()) < PASSING_RISE * seen.reference
    recovered = seen.end < RECOVERED * seen.reference and (passing or seen.alone)
    if largest < ORDINARY_STEP or recovered:
        return None
    text = (
        f"The loss rose from {number(float(seen.loss[0]))} to {number(float(seen.loss[peak]))} "
        f"by step {int(seen.steps[peak])}{_steps_reached(largest)}"
    )
    return int(seen.steps[high[0]]), text, float(seen.loss[peak]), limit


def _stuck(seen: _Measured) -> Found | None:
    early = seen.largest_step(int(seen.steps[0]) + EARLY_STEPS)
    if len(seen.loss) < STUCK_STEPS or not early > LARGE_STEP:
        return None
    if seen.end <= STUCK * seen.ignorant:
        return None
    text = (
        f"The loss is {number(seen.end)} after {len(seen.loss):,} steps, where it began at "
        f"{number(float(seen.loss[0]))}{_steps_reached(early)}"
    )
    return int(seen.steps[0]), text, early, LARGE_STEP


def _turn(seen: _Measured) -> Found | None:
    width = max(len(seen.raw) // 10, LEAST_STEPS)
    if len(seen.raw) < 2 * width:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(seen.raw, width)
    middles = np.median(windows, axis=1)
    place = int(np.argmin(middles))
    low, lowest = float(middles[place]), place + width - 1
    # Losses of mixup swing from batch to batch by more than they fall in an epoch.
    swing = 3 * float(windows[place].std() + windows[-1].std()) / math.sqrt(width)
    limit = max(TURN_FACTOR * low, low + TURN_SHARE * seen.reference, low + swing)
    later = seen.ratios[seen.ratio_steps >= seen.steps[lowest]]
    largest = float(np.median(later)) if len(later) else math.nan
    if float(middles[-1]) <= limit or largest < 3e-3:
        return None
    at = min(lowest + int(np.argmax(seen.loss[lowest:] > limit)), len(seen.loss) - 1)
    text = (
        f"The loss fell to {number(low)} at step {int(seen.steps[lowest])} and has risen to "
        f"{number(float(middles[-1]))} since{_steps_reached(largest)}"
    )
    return int(seen.steps[at]), text, float(middles[-1]), limit


def _huge(seen: _Measured) -> Found | None:
    huge = np.flatnonzero(seen.ratios > HUGE_STEP)
    recovered = seen.alone and seen.end < RECOVERED * seen.reference
    if len(huge) < HUGE_STEPS or recovered:
        return None
    largest = float(np.max(seen.ratios))
    text = (
        f"{len(huge):,} steps changed the weights by more than {HUGE_STEP:g} of their length, "
        f"up to {number(largest)}"
    )
    return int(seen.ratio_steps[huge[0]]), text, largest, HUGE_STEP


def _steps_reached(ratio: float) -> str:
    if not math.isfinite(ratio):
        return ""
    return f" while updates reached {number(ratio)} of the weights' length"


def _too_high_by(history: History, rate: float, better: float) -> str:
    if not better < rate:
        return ""
    optimizer = history.structure.optimizer
    kind = f" for {optimizer.kind}" if optimizer else ""
    times = number(float(f"{rate / better:.1g}"))
    return f": the learning rate of {number(rate)} is about {times} times too high{kind}"


def _better_rate(history: History, seen: _Measured) -> float:
    """From the first steps; from the lowest loss where the rate has risen since; NaN: unknown."""
    rates = learning_rate(history)
    known = rates.of("learning_rate")
    lowest = int(seen.steps[np.argmin(seen.loss)])
    before = known[(rates.steps <= lowest) & np.isfinite(known)]
    estimate = suggested_rate(history)
    if len(before) and lowest > LEAST_STEPS and peak_rate(history) > 2 * float(before[-1]):
        return rounded(float(before[-1]) / 3)
    rate = peak_rate(history)
    if not estimate < rate:
        return rounded(rate / 10)
    return estimate


def _fix(history: History, rate: float, better: float) -> str:
    known = learning_rate(history).of("learning_rate")
    known = known[np.isfinite(known)]
    if len(known) and rate > 2 * float(np.median(known)):
        return f"Have the schedule go no higher than {number(better)}."
    return (
        f"Try {number(better)} (an estimate from the size of the first steps), and warm it up "
        f"over the first steps."
    )


def _causes(
    history: History, seen: _Measured, at: int, rate: float, better: float
) -> tuple[Cause, ...]:
    largest = seen.largest_step(int(seen.steps[-1]))
    causes = [
        Cause(
            name="learning-rate-too-high",
            text=f"The learning rate of {number(rate)} is too high for this network.",
            fix=_fix(history, rate, better),
            score=0.75,
            evidence=(
                f"Loss {number(float(seen.loss[0]))} at first, {number(float(seen.loss.max()))} at "
                f"most, {number(seen.end)} now; updates up to {number(largest)} of the weights' "
                f"length; 0.01 is usual at first."
            ),
            change={"learning_rate": better} if math.isfinite(better) else {},
        ),
        *_others(history, at),
    ]
    return tuple(sorted(causes, key=lambda cause: -cause.score))


def _others(history: History, at: int) -> list[Cause]:
    """Faults that enlarge steps at an ordinary learning rate, where there is a sign of them."""
    causes = []
    stale = history.flag("stale_gradients").of("stale_gradients")
    if len(stale) and float(np.nanmean(stale > 0)) > 0.5:
        causes.append(
            Cause(
                name="zero-grad-missing",
                text="Gradients of all earlier steps add up.",
                fix="Call optimizer.zero_grad() once a step.",
                score=0.95,
                evidence="Gradients of the step before were still there at most steps.",
                change={"optimizer.zero_grad": True},
            )
        )
    group = main_group(history.structure)[1]
    momentum = max(float(group.get("momentum") or 0), *(group.get("betas") or (0.0,))[:1])
    if momentum > 0.985:
        causes.append(
            Cause(
                name="momentum-wrong",
                text=f"Momentum {momentum:g} adds up {number(1 / max(1 - momentum, 1e-9))} steps.",
                fix="Set the momentum, or beta1, to 0.9.",
                score=0.85,
                evidence=f"The optimizer's settings hold {momentum:g}.",
                change={"momentum": 0.9} if group.get("momentum") else {"betas": [0.9, 0.999]},
            )
        )
    norms = known_scalar(history, "gradient_norm")
    first = norms[1][norms[0].steps <= at]
    if len(first) and float(np.median(first)) > 100:
        causes.append(
            Cause(
                name="exploding-gradient",
                text="The gradients are very large from the start.",
                fix=(
                    "Clip the gradient's length to 1; look for a loss that is summed or scaled, "
                    "inputs that are not normalised, or weights that are drawn too large."
                ),
                score=0.6,
                evidence=f"The gradient's length is {number(float(np.median(first)))}.",
                change={"clip_norm": 1.0},
            )
        )
    return causes
