"""A loss that does not fall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import (
    Progress,
    blocks,
    figure,
    held,
    lasting,
    line_plot,
    noise,
    number,
    progress,
)
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import (
    died,
    learning_rate_too_high,
    learning_rate_too_low,
)
from houndsight.debugger.rules.selection import SELECTION
from houndsight.findings import Cause, Finding, Severity

__all__ = ["LossNotDecreasing"]

LEAST = 50
BLOCK = 10
ROSE = 0.5
Floats = npt.NDArray[np.float64]


class LossNotDecreasing(Rule):
    """The training loss does not fall, or has risen again by half of what it had fallen.

    Condition: after 50 steps beyond the warm-up (a learning rate under a tenth of its largest)
    it is sure, by two standard errors, that the mean of the last tenth of the losses is less than
    5 % under that of the first steps, and a fall is not significant either. It does not judge a
    training that begins at less than half of ln(classes), or one resumed without its beginning.
    Or: over 20 steps or a tenth of all, whichever is more, the median of ten losses stands above
    the lowest such median by half of what the loss had fallen and by four times its noise.

    With a parameter set: every `num_steps` steps the loss is compared with the newest recorded
    at least `num_steps` earlier; it speaks when it has not fallen by `diff_percent`, or rose by
    more than `increase_threshold_percent`. `mode` GLOBAL is read as the training's losses, or
    where there are none those of evaluation.

    Source: SageMaker Debugger.
    """

    name = "LossNotDecreasing"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        **SELECTION,
        "use_losses_collection": Parameter(bool, True, "Accepted; the loss is always looked at."),
        "num_steps": Parameter(int, 10, "Steps between two comparisons."),
        "diff_percent": Parameter(float, 0.1, "Percent by which the loss has to fall."),
        "increase_threshold_percent": Parameter(float, 5.0, "Percent by which it may rise."),
        "mode": Parameter(str, "GLOBAL", "TRAIN, EVAL or GLOBAL."),
    }

    def evaluate(self, history: History) -> Iterable[Finding]:
        """At most one finding for the fall and one for the rise."""
        chosen = {"num_steps", "diff_percent", "increase_threshold_percent", "mode"}
        if chosen & self.given.keys():
            return self._documented(history)
        found = [self._not_fallen(history), self._risen(history)]
        return [finding for finding in found if finding]

    def _documented(self, history: History) -> list[Finding]:
        series = _of_mode(history, str(self.value("mode")).upper())
        steps, loss = series.steps, series.of("loss")
        gap, fall = self.value("num_steps"), self.value("diff_percent") / 100
        rise = self.value("increase_threshold_percent") / 100
        mask, worst, checked = np.zeros(len(steps), bool), -np.inf, None
        for row, step in enumerate(steps):
            before = int(np.searchsorted(steps, step - gap, side="right")) - 1
            if before < 0 or (checked is not None and step < checked + gap):
                continue
            checked = step
            change = (loss[row] - loss[before]) / max(abs(loss[before]), 1e-12)
            mask[row] = change > -fall or change > rise
            worst = max(worst, change) if mask[row] else worst
        when = held(steps, mask)
        if when is None:
            return []
        last_check = np.flatnonzero(mask)[-1]
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING,
                title=f"At {when.count} of the comparisons over {gap} steps the loss had not "
                f"fallen by {number(100 * fall)} %; the worst change was {100 * worst:+.3g} %.",
                measured=figure(worst),
                threshold=-fall,
                causes=self._causes(history, f"The loss is {number(loss[last_check])}."),
                plot=line_plot(steps, {"loss": loss}, y_label="loss"),
                **when.fields,
            )
        ]

    def _not_fallen(self, history: History) -> Finding | None:
        now = progress(history, least=LEAST)
        series = history.scalar("loss")
        if now is None or not now.little or now.start - now.recent > 2 * now.error:
            return None
        if now.start < 0.5 * now.baseline or _resumed(series):
            return None
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING,
            title=f"The loss has not fallen in {now.steps} steps: {number(now.start)} at first, "
            f"{number(now.recent)} now.",
            count=now.steps,
            first_step=int(series.steps[0]),
            last_step=int(series.steps[-1]),
            measured=figure(now.fallen),
            threshold=0.05,
            causes=self._causes(history, _level(now)),
            plot=line_plot(series.steps, {"loss": series.of("loss")}, y_label="loss"),
        )

    def _risen(self, history: History) -> Finding | None:
        series = history.scalar("loss")
        series = series.at(np.isfinite(series.of("loss")))
        judged = blocks(series, BLOCK)
        if len(judged) < 4 or _resumed(series):
            return None
        levels = judged.medians[:, 0]
        lowest = np.minimum.accumulate(levels)
        fallen = levels[0] - lowest
        raised = levels - lowest
        least = max(2, int(np.ceil(0.1 * len(levels))))
        chance = 4 * noise(series.of("loss")) / np.sqrt(BLOCK)
        mask = lasting((raised > ROSE * fallen) & (raised > chance) & (raised > 0), least)
        mask &= raised > 0.1 * abs(levels[0])
        when = held(judged.first, mask, judged.last)
        if when is None:
            return None
        worst = int(np.argmax(np.where(mask, raised, -np.inf)))
        return Finding(
            rule=self.name,
            where="rise",
            severity=Severity.WARNING,
            title=f"The loss rose again from {number(lowest[worst])} to {number(levels[worst])} "
            f"and stayed there for {when.count * BLOCK} steps.",
            measured=figure(raised[worst]),
            threshold=figure(ROSE * fallen[worst]),
            causes=(
                learning_rate_too_high(history, "The loss rises instead of falling.", 0.7),
                *self._causes(history, "")[1:],
            ),
            plot=line_plot(series.steps, {"loss": series.of("loss")}, y_label="loss"),
            **{**when.fields, "count": when.count * BLOCK},
        )

    def _causes(self, history: History, evidence: str) -> tuple[Cause, ...]:
        ratios = history.series(Group.UPDATES, Statistic.RATIO).values
        usual = float(np.nanmedian(ratios)) if np.isfinite(ratios).any() else float("nan")
        said = f"The median step is {number(usual)} of the weights' length. " if usual > 0 else ""
        high, low = (0.45, 0.35)
        if usual > 3e-2:
            high, low = (0.7, 0.2)
        elif usual < 1e-5:
            high, low = (0.2, 0.7)
        # Steps of nothing come from gradients of nothing, whatever the learning rate.
        dead = died(history, 0, "Nothing moves.") if usual < 1e-12 else ()
        low = 0.3 if dead else low
        causes = [
            learning_rate_too_high(history, said + evidence, high),
            learning_rate_too_low(history, said + evidence, low),
            Cause(
                name="labels-shuffled",
                text="The labels have nothing to do with the photos.",
                fix="Show a batch with its labels; look for a shuffle or sort of one without the "
                "other.",
                evidence=evidence,
                score=0.3,
            ),
            *dead,
        ]
        return tuple(sorted(causes, key=lambda cause: -cause.score))


def _level(now: Progress) -> str:
    near = abs(now.recent - now.baseline) < 0.1 * now.baseline
    return (
        f"The loss stands at what guessing gives ({number(now.baseline)})."
        if near
        else f"Guessing would give {number(now.baseline)}."
    )


def _resumed(series: Series) -> bool:
    return bool(len(series) and series.steps[0] > 5)


def _of_mode(history: History, mode: str) -> Series:
    train, evaluation = history.scalar("loss"), history.scalar("loss", Mode.EVAL)
    if mode in ("TRAIN", "GLOBAL") and len(train):
        return train
    if mode == "TRAIN" or not len(evaluation):
        return train
    # Of the forwards of one evaluation the first stands for it.
    _, first = np.unique(evaluation.steps, return_index=True)
    return evaluation.at(first)
