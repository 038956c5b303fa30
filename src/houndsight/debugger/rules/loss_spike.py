"""The loss jumped up in the middle of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History, Series
from houndsight.debugger.optimisation import (
    known_scalar,
    learning_rate,
    uniform_loss,
    weight_ratios,
)
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number, plural

__all__ = ["LossSpike"]

SLOW_STEPS = 30
EXAMPLES = 64
FAST_STEPS = 3
FACTOR, DEVIATIONS = 5.0, 10.0
RATE_JUMP, RATIO_JUMP, INPUT_JUMP = 3.0, 5.0, 2.0
Floats = npt.NDArray[np.float64]


class LossSpike(Rule):
    """The loss suddenly rose to several times what it had been: the network lost what it knew.

    Condition: the mean loss of three steps (or of as many as hold 64 examples) exceeds five times
    the median of the 30 steps before, and that median by ten of its deviations. It is a warning
    where the loss rose above that of a network that knows nothing (or, where that is unknown,
    above the first loss), or has not come back; else a remark. The first 30 steps are left out.

    Source: a fast mean five times the slow one, Composer's OptimizerMonitor and loss spike
    callbacks; the deviations and the level are ours: near zero a single hard photo is five-fold.
    """

    name = "LossSpike"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for all spikes."""
        loss, values = known_scalar(history, "loss")
        if len(loss) < SLOW_STEPS + FAST_STEPS:
            return []
        fast, slow, limit = _fast_and_slow(values, _fast_steps(history))
        high = fast > limit
        starts = np.flatnonzero(high & ~np.concatenate([[False], high[:-1]]))
        if not len(starts):
            return []
        chance = uniform_loss(history.structure) or float(np.median(values[:3]))
        worst = int(np.nanargmax(np.where(high, fast / np.maximum(slow, 1e-12), -1)))
        first = int(starts[0])
        recovered = float(np.median(values[-FAST_STEPS:])) < 2 * slow[first] + 0.1 * chance
        grave = float(np.nanmax(fast[high])) > chance
        lost = not recovered and float(np.median(values[-FAST_STEPS:])) > 0.5 * chance
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING if grave or lost else Severity.INFO,
                title=(
                    f"The loss jumped from {number(slow[worst])} to "
                    f"{number(values[max(worst - 2, 0) : worst + 1].max())} at step "
                    f"{int(loss.steps[worst])}"
                    + (f" ({plural(len(starts), 'jump')} in all)" if len(starts) > 1 else "")
                    + (" and came back." if recovered else " and has not come back.")
                ),
                causes=_causes(history, loss, first),
                count=len(starts),
                first_step=int(loss.steps[first]),
                last_step=int(loss.steps[np.flatnonzero(high)[-1]]),
                measured=float(fast[worst]),
                threshold=float(limit[worst]),
                plot=line_plot(loss.steps, {"loss": values}, y_label="loss"),
            )
        ]


def _fast_steps(history: History) -> int:
    sizes = history.scalar("batch_size").values
    size = float(np.nanmedian(sizes)) if np.isfinite(sizes).any() else EXAMPLES
    return max(FAST_STEPS, math.ceil(EXAMPLES / max(size, 1)))


def _fast_and_slow(values: Floats, width: int) -> tuple[Floats, Floats, Floats]:
    """(n,) fast mean, slow median before it, and the level that the fast one must not exceed."""
    count = len(values)
    fast, slow, limit = np.full(count, -np.inf), np.ones(count), np.full(count, np.inf)
    if count < SLOW_STEPS + width:
        return fast, slow, limit
    means = np.convolve(values, np.full(width, 1 / width), "valid")
    windows = np.lib.stride_tricks.sliding_window_view(values, SLOW_STEPS)[
        : len(means) - SLOW_STEPS
    ]
    middles = np.median(windows, axis=1)
    deviations = 1.4826 * np.median(np.abs(windows - middles[:, None]), axis=1)
    # The slow window ends where the fast one begins.
    at = slice(SLOW_STEPS + width - 1, SLOW_STEPS + width - 1 + len(middles))
    fast[at], slow[at] = means[SLOW_STEPS:], middles
    limit[at] = np.maximum(FACTOR * middles, middles + DEVIATIONS * deviations)
    return fast, slow, limit


def _causes(history: History, loss: Series, first: int) -> tuple[Cause, ...]:
    step = int(loss.steps[first])
    causes = [c for c in (_rate(history, step), _batch(history, step), _steps(history, step)) if c]
    exploded = Cause(
        name="exploding-gradient",
        text="A batch with a very large gradient threw the weights off.",
        fix="Clip the gradient's length to 1 (torch.nn.utils.clip_grad_norm_) before the step.",
        score=0.35,
        evidence=_gradients(history, step),
        change={"clip_norm": 1.0},
    )
    return tuple(sorted([*causes, exploded], key=lambda cause: -cause.score))


def _around(series: Series, column: Floats, step: int) -> tuple[float, float]:
    """Median long before the step, and largest value shortly before and at it."""
    before = column[(series.steps < step - 5) & np.isfinite(column)]
    near = column[(series.steps >= step - 5) & (series.steps <= step) & np.isfinite(column)]
    if not len(before) or not len(near):
        return math.nan, math.nan
    return float(np.median(before[-SLOW_STEPS:])), float(near.max())


def _rate(history: History, step: int) -> Cause | None:
    rates = learning_rate(history)
    before, near = _around(rates, rates.values[:, 0] if len(rates) else np.empty(0), step)
    if not before > 0 or near < RATE_JUMP * before:
        return None
    change: dict[str, Any] = {"learning_rate": before}
    return Cause(
        name="learning-rate-too-high",
        text="The schedule raised the learning rate at that moment.",
        fix=f"Keep the learning rate near {number(before)}, or raise it over many steps.",
        score=0.95,
        evidence=f"It went from {number(before)} to {number(near)} just before the jump.",
        change=change,
    )


def _batch(history: History, step: int) -> Cause | None:
    for statistic in (Statistic.STD, Statistic.MAXIMUM):
        inputs = history.series(Group.INPUTS, statistic)
        column = np.abs(inputs.values).max(axis=1) if len(inputs) else np.empty(0)
        before, near = _around(inputs, column, step)
        if before > 0 and near > INPUT_JUMP * before:
            return Cause(
                name="non-finite-input",
                text="A batch was unlike all others: damaged photos or other preprocessing.",
                fix=f"Look at the photos of the batches of steps {max(step - 3, 0)} to {step}.",
                score=0.9,
                evidence=(
                    f"The inputs' {statistic.value} was {number(near)}, usually {number(before)}."
                ),
            )
    return None


def _steps(history: History, step: int) -> Cause | None:
    ratios, middle = weight_ratios(history)
    before, near = _around(ratios, middle, step)
    if not math.isfinite(before):
        return None
    grew = near > RATIO_JUMP * before
    return Cause(
        name="learning-rate-too-high",
        text="The learning rate is at the edge of what the network bears.",
        fix="Lower the learning rate to a third, or warm it up and clip the gradient's length.",
        score=0.5 if grew or near > 0.03 else 0.4,
        evidence=f"Updates went from {number(before)} to {number(near)} of the weights' length.",
        change={"learning_rate_factor": 0.33},
    )


def _gradients(history: History, step: int) -> str:
    norms = history.scalar("gradient_norm")
    before, near = _around(norms, norms.values[:, 0] if len(norms) else np.empty(0), step)
    if not math.isfinite(before):
        return ""
    return f"The gradient's length was up to {number(near)}, usually {number(before)}."
