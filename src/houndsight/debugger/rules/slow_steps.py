"""Steps become slower and slower, or a few take very long."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import Floats, Integers
from houndsight.debugger.history import History
from houndsight.debugger.record import Mode
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import duration, plural

__all__ = ["SlowSteps"]

STEPS = 100
SLOWER = 4.0
STEADY = 0.9
LEAST_SECONDS = 0.05
OUTLIER = 10.0
OUTLIER_SECONDS = 1.0
OUTLIER_SHARE = 0.1


class SlowSteps(Rule):
    """Steps take longer and longer, or now and then one takes many times as long as the others.

    Condition, from 100 steps on: the median time of a step rises through the tenths of the
    training (nine of ten comparisons of a later with an earlier one) to four times that of the
    first; what a busy machine does comes and goes. As a remark: steps without an evaluation
    between take ten times the median and at least a second, and make up a tenth of the time.

    Source: SageMaker's StepOutlier knows only the second (three standard deviations), which random
    times meet as well. A stall is `StalledTrainingRule`'s.
    """

    name = "SlowSteps"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for a slowdown, or one for single steps."""
        steps, seconds = _times(history)
        if len(seconds) < STEPS:
            return
        tenths = np.array([float(np.median(part)) for part in np.array_split(seconds, 10)])
        later, earlier = np.triu_indices(10, 1)[::-1]
        rising = float((tenths[later] > tenths[earlier]).mean())
        if rising >= STEADY and tenths[-1] >= max(SLOWER * tenths[0], LEAST_SECONDS):
            yield self._slower(steps, seconds, tenths)
            return
        middle = float(np.median(seconds))
        long = seconds > max(OUTLIER * middle, OUTLIER_SECONDS)
        if long.any() and seconds[long].sum() > OUTLIER_SHARE * seconds.sum():
            yield self._outliers(steps, seconds, long, middle)

    def _slower(self, steps: Integers, seconds: Floats, tenths: Floats) -> Finding:
        return Finding(
            rule=self.name,
            where="time",
            severity=Severity.WARNING,
            title=(
                f"Steps become slower: {duration(float(tenths[0]))} at first and "
                f"{duration(float(tenths[-1]))} now, {tenths[-1] / tenths[0]:.1f} times as long."
            ),
            causes=(
                Cause(
                    name="memory-leak",
                    text="A graph or a list grows with every step and is gone through each time.",
                    fix="Add up loss.item() instead of loss, and keep no outputs undetached.",
                    score=0.6,
                    evidence="The time rises through the whole training.",
                ),
                Cause(
                    name="machine-busy",
                    text="The machine heats up or is used by others more and more.",
                    fix="Look at the processor's clock and at other processes.",
                    score=0.35,
                    evidence="",
                ),
            ),
            count=len(steps),
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            measured=float(tenths[-1] / tenths[0]),
            threshold=SLOWER,
            plot=line_plot(steps, {"seconds a step": seconds}),
        )

    def _outliers(
        self, steps: Integers, seconds: Floats, long: np.ndarray, middle: float
    ) -> Finding:
        share = float(seconds[long].sum() / seconds.sum())
        return Finding(
            rule=self.name,
            where="steps",
            severity=Severity.INFO,
            title=(
                f"{plural(int(long.sum()), 'step')} of {len(seconds):,} took {share:.0%} of the "
                f"time: up to {duration(float(seconds.max()))}, where the others take "
                f"{duration(middle)}."
            ),
            causes=(
                Cause(
                    name="data-loading",
                    text="The training waits for photos, for example when workers start anew.",
                    fix="Use persistent_workers=True and more workers in the DataLoader.",
                    score=0.5,
                    evidence=f"The steps are {', '.join(map(str, steps[long][:5].tolist()))}.",
                    change={"persistent_workers": True},
                ),
            ),
            count=int(long.sum()),
            first_step=int(steps[long][0]),
            last_step=int(steps[long][-1]),
            measured=share,
            threshold=OUTLIER_SHARE,
            plot=line_plot(steps, {"seconds a step": seconds}),
        )


def _times(history: History) -> tuple[Integers, Floats]:
    """Seconds from each step to the next one recorded, where no evaluation lies between."""
    loss = history.scalar("loss")
    if len(loss) < 2:
        return loss.steps[:0], np.empty(0)
    evaluated = history.scalar("loss", Mode.EVAL).steps
    seconds = np.diff(loss.times)
    plain = (np.diff(loss.steps) == 1) & ~np.isin(loss.steps[1:], evaluated) & (seconds > 0)
    return loss.steps[1:][plain], seconds[plain]
