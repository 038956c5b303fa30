"""Weights that something other than the optimizer changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot, progress
from houndsight.debugger.history import History, Series
from houndsight.debugger.optimisation import weight_names, whole_batches
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number, plural

__all__ = ["WeightsOverwritten"]

LEAST_JUMP = 0.005
BEYOND = 1.5
WINDOW = 8
MOST_WEIGHTS = 0.6
TIMES = 2
STEPS = 20
AS_DRAWN = 0.05
AS_LOADED = 1e-6
TWICE = 2.0
ELSEWHERE = 0.3
"""Share of their length by which weights that are drawn anew differ at least."""
ALWAYS = 0.9


class WeightsOverwritten(Rule):
    """Between two steps of the optimizer something else changes the weights: they are drawn anew,
    loaded again, clamped or copied back, and what was learnt until then is gone.

    Condition: from one step to the next the lengths of more than 60 % of the weights change by
    more than their updates can account for: by 1.5 times the largest update that was recorded
    within eight steps, and by half a percent of their length, twice or more. A sum of two
    vectors differs in length from one of them by no more than the other's length, so no update
    does that. A single time, as when the best weights are loaded, is passed over. In the first 64
    steps the weights themselves are compared, at the end of a step and before the next: more than
    60 % of them differ by twice the largest update near. That is a remark where the loss falls all
    the same and the weights went no further than they had come, or are moved between nearly all
    steps: they are averaged with earlier ones (Lookahead, Reptile, federated averaging), or moved
    for the gradient only (SAM).

    Source: ours, by the triangle inequality.
    """

    name = "WeightsOverwritten"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        names = weight_names(history.structure)
        lengths = history.series(Group.PARAMETERS, Statistic.NORM).only(names)
        updates = history.series(Group.UPDATES, Statistic.RATIO).only(lengths.names)
        if len(lengths) < STEPS or not lengths.names or lengths.names != updates.names:
            return []
        # Steps with a closure are seen when they are over, so that no update is known.
        if not len(updates) or whole_batches(history.structure):
            return []
        seen = _seen(history, updates, lengths)
        if seen is not None and seen.severity != Severity.INFO:
            return [seen]
        jump = _jumps(lengths.values)
        reach = _reach(lengths.steps[:-1], updates.steps, updates.values)
        beyond = (jump > LEAST_JUMP) & (jump > BEYOND * reach)
        share = beyond.mean(axis=1)
        # Steps that were not recorded add up their updates.
        follow = np.diff(lengths.steps) == 1
        at = np.flatnonzero(follow & (share > MOST_WEIGHTS))
        if len(at) < TIMES:
            return [seen] if seen is not None else []
        steps = lengths.steps[at + 1]
        back = np.abs(lengths.values[at + 1] / lengths.values[0] - 1)
        drawn = bool(np.nanmedian(back) < AS_DRAWN)
        if seen is not None and not drawn:
            return [seen]
        total = np.sqrt(np.nansum(lengths.values**2, axis=1))
        often = f"every {number(float(np.median(np.diff(steps))))} steps, " if len(at) > 2 else ""
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.ERROR if drawn else Severity.WARNING,
                title=(
                    f"The weights changed {plural(len(at), 'time')} between two steps, {often}"
                    f"first at step {int(steps[0])}, by up to "
                    f"{number(float(np.nanmax(jump[at])))} of their length, which no step of the "
                    "optimizer did."
                ),
                causes=(_drawn(len(at)) if drawn else _changed(len(at)),),
                first_step=int(steps[0]),
                last_step=int(steps[-1]),
                count=len(at),
                measured=float(np.nanmedian(jump[at])),
                threshold=LEAST_JUMP,
                plot=line_plot(lengths.steps, {"weights": total}, y_label="length"),
            )
        ]


def _seen(history: History, updates: Series, lengths: Series) -> Finding | None:
    """Where the weights before a step are not those that the step before left."""
    between = history.series(Group.UPDATES, Statistic.BETWEEN).only(updates.names)
    if len(between) < TIMES or between.names != updates.names:
        return None
    moved = np.where(np.isfinite(between.values), between.values, 0.0)
    beyond = moved > TWICE * _reach(between.steps, updates.steps, updates.values)
    at = np.flatnonzero(beyond.mean(axis=1) > MOST_WEIGHTS)
    if len(at) < TIMES:
        return None
    steps = between.steps[at]
    first = lengths.values[0]
    then = lengths.at(np.isin(lengths.steps, steps)).values
    apart = np.abs(then / np.maximum(first, 1e-12) - 1)
    loaded = len(then) > 0 and bool(np.nanmax(apart) < AS_LOADED)
    far = float(np.median(moved[at])) > ELSEWHERE
    drawn = not loaded and far and len(then) > 0 and bool(np.nanmedian(apart) < AS_DRAWN)
    did = progress(history)
    learns = did is not None and did.surely
    always = len(between) > ALWAYS * (updates.steps <= between.steps[-1]).sum()
    back = always or _within(steps, moved[at], updates)
    total = np.sqrt(np.nansum(lengths.values**2, axis=1))
    return Finding(
        rule=WeightsOverwritten.name,
        where="",
        severity=Severity.ERROR
        if loaded or drawn
        else Severity.INFO
        if learns and back
        else Severity.WARNING,
        title=(
            f"Before step {int(steps[0])} and {plural(len(at) - 1, 'other step')} the weights were "
            "not those that the optimizer had left: "
            f"{number(float(np.median(moved[at])))} of their length was changed by something else."
        ),
        causes=(_loaded(len(at)) if loaded else _drawn(len(at)) if drawn else _changed(len(at)),),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        count=len(at),
        measured=float(np.median(moved[at])),
        threshold=0.0,
        plot=line_plot(lengths.steps, {"weights": total}, y_label="length"),
    )


def _within(steps: npt.NDArray[Any], moved: npt.NDArray[Any], updates: Series) -> bool:
    """Whether the median weight was moved by no more than the sum of the updates before."""
    made = np.cumsum(np.nan_to_num(updates.values), axis=0)
    before = np.searchsorted(updates.steps, steps) - 1
    return bool((np.median(moved, axis=1) <= np.median(made[np.maximum(before, 0)], axis=1)).all())


def _jumps(lengths: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n - 1, weights) relative change of the length to the next step."""
    with np.errstate(all="ignore"):
        jump = np.abs(np.diff(lengths, axis=0)) / np.maximum(np.abs(lengths[:-1]), 1e-12)
    return np.where(np.isfinite(jump), jump, 0.0)


def _reach(
    steps: npt.NDArray[Any], at: npt.NDArray[Any], ratios: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """(n, weights) the largest update recorded within `WINDOW` steps; infinite without any."""
    known = np.where(np.isfinite(ratios), ratios, np.inf)
    first = np.searchsorted(at, steps - WINDOW)
    last = np.searchsorted(at, steps + WINDOW, side="right")
    rows = [
        known[a:b].max(axis=0) if b > a else np.full(known.shape[1], np.inf)
        for a, b in zip(first, last, strict=True)
    ]
    return np.stack(rows)


def _loaded(times: int) -> Cause:
    return Cause(
        name="weights-overwritten",
        text="The weights that the training began with are loaded again within the loop.",
        fix="Load the checkpoint once, before the loop over epochs.",
        score=0.97,
        evidence=f"{times} times every weight had exactly the length that it began with.",
        change={"checkpoint.load": "once"},
    )


def _drawn(times: int) -> Cause:
    return Cause(
        name="weights-redrawn",
        text="The model is made, initialised or loaded anew within the training loop.",
        fix="Make the model, initialise it and load weights once, before the loop over epochs.",
        score=0.96,
        evidence=f"{times} times the weights went back to the length that they began with.",
        change={"model.made": "once"},
    )


def _changed(times: int) -> Cause:
    return Cause(
        name="weights-overwritten",
        text="Code after optimizer.step() clamps the weights or copies others over them.",
        fix="Look for clamp_, copy_, load_state_dict or .data in the training loop.",
        score=0.92,
        evidence=f"{times} times their length changed by more than the update's.",
        change={"weights.overwritten": False},
    )
