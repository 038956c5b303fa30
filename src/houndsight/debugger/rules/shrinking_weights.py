"""Steps that do little but shrink the weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import adaptive, horizon, main_group, peak_rate, weight_names
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["ShrinkingWeights"]

STEPS, EARLY = 8, 30
INWARD = 0.6
LEAST = 1e-4
SHRUNK = 0.7
ACCOUNTED = 3.0


class ShrinkingWeights(Rule):
    """Every step of the optimizer mostly shrinks the weights, though no weight decay of its own
    accounts for that: a penalty on the weights that was added to the loss is far too large.

    Condition, over the first 30 recorded updates, eight at least: the median weight gets shorter
    by 60 % or more of its update's length (1 when a step points straight at zero, near 0 on a
    healthy training, where steps are at right angles to the weights) and has lost 30 % of its
    length by then, and three times what the optimizer's weight decay would do is less than that.

    Source: ours.
    """

    name = "ShrinkingWeights"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        names = weight_names(history.structure)
        lengths = history.series(Group.PARAMETERS, Statistic.NORM).only(names)
        updates = history.series(Group.UPDATES, Statistic.RATIO).only(lengths.names)
        if not names or lengths.names != updates.names or len(lengths) < STEPS + 1:
            return []
        found = _inward(lengths.steps, lengths.values, updates.steps, updates.values)
        if found is None:
            return []
        inward, lost, per_step = found
        settings = main_group(history.structure)[1]
        if adaptive(history.structure) and settings.get("weight_decay"):
            return []  # It is divided as gradients are: `WeightDecayScale` judges it.
        own = peak_rate(history) * float(settings.get("weight_decay") or 0.0) * horizon(settings)
        if inward < INWARD or lost > SHRUNK or not per_step > ACCOUNTED * np.nan_to_num(own):
            return []
        total = np.sqrt(np.nansum(lengths.values**2, axis=1))
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING,
                title=(
                    f"{inward:.0%} of each step only shrinks the weights: the median one was down "
                    f"to {lost:.0%} of its length after {EARLY} steps, and the optimizer's weight "
                    "decay does not account for it."
                ),
                causes=(
                    Cause(
                        name="weight-decay-wrong",
                        text="A penalty on the weights that is added to the loss outweighs the "
                        "loss itself.",
                        fix="Divide the penalty's factor by 1,000, or take it out and give the "
                        "optimizer a weight_decay of 5e-4.",
                        score=0.95,
                        evidence=f"Weights lose {number(per_step)} of their length a step.",
                        change={"loss.penalty_factor": 1e-3},
                    ),
                ),
                first_step=int(lengths.steps[0]),
                last_step=history.last_step,
                count=len(updates),
                measured=inward,
                threshold=INWARD,
                plot=line_plot(lengths.steps, {"weights": total}, y_label="length"),
            )
        ]


def _inward(
    steps: np.ndarray, lengths: np.ndarray, at: np.ndarray, ratios: np.ndarray
) -> tuple[float, float, float] | None:
    """Share of the updates that shortens, what is left of the length, loss of length a step."""
    pairs = [
        (int(place), int(row))
        for row, step in enumerate(at[:EARLY])
        if (place := np.searchsorted(steps, step)) + 1 < len(steps)
        and steps[place] == step
        and steps[place + 1] == step + 1
    ]
    if len(pairs) < STEPS:
        return None
    places, rows = (np.array(column) for column in zip(*pairs, strict=True))
    with np.errstate(all="ignore"):
        shorter = 1 - lengths[places + 1] / lengths[places]
        share = np.where(ratios[rows] > LEAST, shorter / ratios[rows], np.nan)
        left = lengths[places[-1] + 1] / lengths[0]
        if not np.isfinite(share).any(axis=1).sum() >= STEPS or not np.isfinite(left).any():
            return None
        middle = np.nanmedian(share[np.isfinite(share).any(axis=1)], axis=1)
        return (
            float(np.nanmedian(middle)),
            float(np.nanmedian(left)),
            float(np.nanmedian(shorter)),
        )
