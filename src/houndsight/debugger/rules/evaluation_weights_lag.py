"""Evaluation runs on an average of the weights that is still near where they began."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches, joined, passes, tail
from houndsight.debugger.history import History, Series
from houndsight.debugger.optimisation import weight_names
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["EvaluationWeightsLag"]

STEPS = 50
MOVED = 0.01
LAG = 0.75
WEIGHTS = 2
GAP = 0.15


class EvaluationWeightsLag(Rule):
    """Evaluation uses other weights than training: an average over the past that still is mostly
    what the network began with. Its accuracy says nothing of what was learnt.

    Condition, from 50 steps on, at the last two evaluations: of the weights whose length has
    changed by 1 % since the first step (two at least), the median at evaluation has made less than
    a quarter of that way, and evaluation is right 15 points less often than training of late.

    Source: ours; an exponential average with decay d looks back about 1 / (1 - d) steps (Tarvainen
    and Valpola, Mean teachers, 2017, who raise d as the training goes on for this reason).
    """

    name = "EvaluationWeightsLag"

    def not_applicable(self, history: History) -> str:
        """Weights must have been looked at in evaluation."""
        if history.ended and not len(_lengths(history, Mode.EVAL)):
            return "No evaluation was recorded."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for evaluation."""
        trained, asked = _lengths(history, Mode.TRAIN), _lengths(history, Mode.EVAL)
        asked = asked.at(asked.steps >= STEPS).last(2)
        if len(asked) < 2 or not len(trained) or trained.names != asked.names:
            return
        lags = [_lag(trained, asked, row) for row in range(len(asked))]
        seen = [batch for batch in batches(history) if batch.judged]
        evaluated = [one for one in passes(history) if one.judged]
        if not np.isfinite(lags).all() or min(lags) < LAG or not seen or not evaluated:
            return
        known, last = joined(tail(seen, 0.2)).accuracy, evaluated[-1]
        if known - last.accuracy < GAP:
            return
        steps = history.last_step + 1
        decay = round(max(0.9, 1 - 10 / steps), 4)
        accuracy = history.scalar("accuracy")
        yield Finding(
            rule=self.name,
            where="evaluation",
            severity=Severity.WARNING,
            title=(
                f"Evaluation's weights are still {lags[-1]:.0%} what the network began with, at "
                f"step {int(asked.steps[-1])}: {last.accuracy:.0%} are right, and {known:.0%} in "
                "training."
            ),
            causes=(
                Cause(
                    name="average-too-slow",
                    text="The running average of the weights (EMA) looks back over more steps than "
                    "there were.",
                    fix=f"Lower its decay to {decay}, raise it as the training goes on, or start "
                    "the average from the trained weights.",
                    score=0.96,
                    evidence="Lengths of the weights at the first batch of each evaluation.",
                    change={"average.decay": decay},
                ),
            ),
            count=len(asked),
            first_step=int(asked.steps[0]),
            last_step=int(asked.steps[-1]),
            measured=lags[-1],
            threshold=LAG,
            plot=line_plot(
                accuracy.steps, {"training": accuracy.of("accuracy")}, y_label="accuracy"
            ),
        )


def _lengths(history: History, mode: Mode) -> Series:
    names = weight_names(history.structure)
    return history.series(Group.PARAMETERS, Statistic.NORM, mode).only(names)


def _lag(trained: Series, asked: Series, row: int) -> float:
    """1 where evaluation's weights are the first ones, 0 where they are training's of that step;
    NaN where too few have changed in length."""
    before = trained.at(trained.steps < asked.steps[row])
    if not len(before):
        return float("nan")
    first, now = trained.values[0], before.values[-1]
    moved: npt.NDArray[np.bool_] = np.abs(now - first) > MOVED * np.maximum(first, 1e-12)
    if moved.sum() < WEIGHTS:
        return float("nan")
    way = (now - asked.values[row])[moved] / (now - first)[moved]
    return float(np.median(way))
