"""Training photos that change more and more as the training goes on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.inputs import no_images
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["InputsDrift"]

STEPS, PARTS = 40, 5
GROWN = 1.25
ERRORS = 6.0


class InputsDrift(Rule):
    """The training photos drift away from what they were: augmentation or normalisation is
    applied to its own result, epoch upon epoch, while evaluation's photos stay as they are.

    Condition, over 40 batches or more in five equal parts: the inputs' standard deviation goes
    the same way from part to part, and from the first part to the last by 1.25 times or more and
    by six standard errors. Augmentation that grows on purpose, as in curricula, looks the same.

    Source: ours; in-place operations on a cached data set are how it comes about.
    """

    name = "InputsDrift"

    def not_applicable(self, history: History) -> str:
        """Only photos have a scale that should stay."""
        return no_images(history)

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        spread = _spread(history, Mode.TRAIN)
        if len(spread[1]) < STEPS:
            return []
        steps, values = spread
        parts = np.array_split(values, PARTS)
        means = np.array([part.mean() for part in parts])
        errors = np.array([part.std() / np.sqrt(len(part)) for part in parts])
        ways = np.sign(np.diff(means))
        first, last = float(means[0]), float(means[-1])
        ratio = max(first, last) / max(min(first, last), 1e-12)
        sure = abs(last - first) > ERRORS * float(np.hypot(errors[0], errors[-1]))
        if ratio < GROWN or not sure or abs(ways.sum()) != len(ways):
            return []
        asked = _spread(history, Mode.EVAL)[1]
        beside = f", where evaluation's is {number(float(asked.mean()))}" if len(asked) else ""
        return [
            Finding(
                rule=self.name,
                where="inputs",
                severity=Severity.WARNING,
                title=(
                    f"The standard deviation of the training photos went from {number(first)} to "
                    f"{number(last)} over {len(values):,} batches{beside}: they change with every "
                    "epoch."
                ),
                causes=(
                    Cause(
                        name="augmentation-too-strong",
                        text="Photos are augmented or normalised in place, so that each epoch "
                        "starts from the result of the one before.",
                        fix="Augment a copy: no operation in place (add_, *=, out=) on what the "
                        "data set keeps.",
                        score=0.93,
                        evidence=f"The spread grew {ratio:.2g} times, without a way back.",
                        change={"augmentation": "none"},
                    ),
                ),
                first_step=int(steps[0]),
                last_step=int(steps[-1]),
                count=len(values),
                measured=ratio,
                threshold=GROWN,
                plot=line_plot(steps, {"standard deviation": values}, y_label="inputs"),
            )
        ]


def _spread(history: History, mode: Mode) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Steps, and the standard deviation of the inputs over channels and pixels."""
    series = history.series(Group.INPUTS, Statistic.STD, mode)
    if not len(series):
        return np.empty(0, np.int64), np.empty(0)
    values = np.sqrt((series.values**2).mean(axis=1))
    known = np.isfinite(values)
    return series.steps[known], values[known]
