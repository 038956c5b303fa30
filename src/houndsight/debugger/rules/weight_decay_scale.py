"""Weight decay pulls harder than the gradients push."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    adaptive,
    horizon,
    known_scalar,
    main_group,
    peak_rate,
    weight_names,
)
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["WeightDecayScale"]

SHORTEST_LIFE_STEPS = 100
JUDGED_STEPS = 10
EARLY_STEPS = 50
PULL = 0.5
USUAL_DECAY, USUAL_DECOUPLED = 2e-3, 0.2
"""Decays up to these are never to blame: a rate or momentum that is too high is."""
DECOUPLED = ("adamw", "nadamw", "lion", "sgdw")


class WeightDecayScale(Rule):
    """Weight decay is so strong that the weights forget what they learnt, or shrink to nothing.

    Condition, for SGD and for AdamW, by the settings: decay alone would shrink the weights by
    1/e within 100 steps, that is learning rate x decay x 1/(1 - momentum) above 0.01 (usual
    recipes have a thousandth of that), and the decay is above 0.002 (AdamW: 0.2), as else the
    rate or the momentum is to blame. For Adam, which divides the decay by the gradient's size as
    it does the gradient: decay x weight exceeds half the gradient in the median weight over the
    first 50 steps, ten at least, when gradients are at their largest.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (ICLR 2019); Wang and
    Aitchison (2024) for the time 1/(rate x decay) as its scale; limits ours.
    """

    name = "WeightDecayScale"

    def not_applicable(self, history: History) -> str:
        """The optimizer has to have a weight decay."""
        groups = history.structure.optimizer.groups if history.structure.optimizer else ()
        if not any(group.get("weight_decay") for group in groups):
            return "The optimizer has no weight decay."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the group with most parameters."""
        settings = main_group(history.structure)[1]
        decay = float(settings.get("weight_decay") or 0.0)
        if decay <= 0:
            return []
        optimizer = history.structure.optimizer
        assert optimizer is not None
        decoupled = optimizer.kind.lower() in DECOUPLED or settings.get("decoupled_weight_decay")
        if adaptive(history.structure) and not decoupled:
            return self._coupled(history, decay)
        return self._by_life(history, decay, settings, bool(decoupled))

    def _by_life(
        self, history: History, decay: float, settings: Mapping[str, Any], decoupled: bool
    ) -> list[Finding]:
        if decay <= (USUAL_DECOUPLED if decoupled else USUAL_DECAY):
            return []
        rates = known_scalar(history, "learning_rate")[1]
        rate = float(np.median(rates)) if len(rates) else peak_rate(history)
        per_step = rate * decay * (1.0 if decoupled else horizon(settings))
        if not math.isfinite(rate) or per_step * SHORTEST_LIFE_STEPS < 1:
            return []
        better = min(decay / 10, 0.05 if decoupled else 5e-4)
        life = 1 / per_step if math.isfinite(per_step) else 0.0
        title = (
            f"A weight decay of {number(decay)} at a learning rate of {number(rate)} shrinks the "
            f"weights by 1/e every {number(life)} steps, faster than they can learn."
        )
        return [self._finding(history, decay, better, title, life, SHORTEST_LIFE_STEPS)]

    def _coupled(self, history: History, decay: float) -> list[Finding]:
        names = weight_names(history.structure)
        weights = history.series(Group.PARAMETERS, Statistic.NORM).only(names)
        gradients = history.series(Group.GRADIENTS, Statistic.NORM).only(names)
        steps = np.intersect1d(weights.steps, gradients.steps)
        if weights.names != gradients.names or len(steps) < JUDGED_STEPS:
            return []
        steps = steps[steps < steps[0] + EARLY_STEPS]
        with np.errstate(all="ignore"):
            pull = (
                decay
                * weights.at(np.searchsorted(weights.steps, steps)).values
                / gradients.at(np.searchsorted(gradients.steps, steps)).values
            )
            pull = np.where(np.isfinite(pull), pull, np.nan)
            known = np.isfinite(pull).any(axis=1)
            middle = np.nanmedian(pull[known], axis=1) if known.any() else np.empty(0)
        if len(middle) < JUDGED_STEPS or float(np.median(middle)) <= PULL:
            return []
        times = float(np.median(middle))
        title = (
            f"Weight decay of {number(decay)} pulls the weights {number(times)} times harder than "
            f"the gradients push over the first {len(middle)} recorded steps."
        )
        better = min(float(f"{decay / times / 100:.0e}"), 1e-4)
        return [self._finding(history, decay, better, title, times, PULL)]

    def _finding(
        self,
        history: History,
        decay: float,
        better: float,
        title: str,
        measured: float,
        threshold: float,
    ) -> Finding:
        norms = history.series(Group.PARAMETERS, Statistic.NORM)
        norms = norms.only(weight_names(history.structure))
        with np.errstate(all="ignore"):
            total = np.sqrt(np.nansum(norms.values**2, axis=1))
        known = total[np.isfinite(total)]
        evidence = (
            f"The weights' length went from {number(float(known[0]))} to "
            f"{number(float(known[-1]))}."
            if len(known) > 1
            else ""
        )
        return Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING,
            title=title,
            causes=(
                Cause(
                    name="weight-decay-wrong",
                    text=f"weight_decay={decay:g} is on the wrong scale for this optimizer.",
                    fix=f"Set weight_decay={number(better)}.",
                    score=0.92,
                    evidence=evidence,
                    change={"weight_decay": better},
                ),
            ),
            first_step=0,
            last_step=history.last_step,
            measured=measured,
            threshold=threshold,
            plot=line_plot(norms.steps, {"weights": total}, y_label="length"),
        )
