"""BatchNorm's running statistics are not those of the batches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import Floats, Integers, share_awake
from houndsight.debugger.history import History
from houndsight.debugger.normalisation import batchnorm_misfit
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["BatchNormDrift"]

DRIFT = 1.0
SPREAD = 3.0
MISFIT = 2.0
NOTICEABLE = 0.3
START = 0.2
LAST_SHARE = 0.25
STEPS = 60
LARGE_MOMENTUM = 0.9
USUAL_MOMENTUM = 0.1


class BatchNormDrift(Rule):
    """BatchNorm's running statistics do not follow the batches', so that the network that is
    evaluated is not the one that was trained: its `momentum` is so small that they lag, so large
    that they are those of the last batch alone (TensorFlow's 0.99 is PyTorch's 0.01), or
    evaluation's photos differ from training's.

    Condition, from 60 steps on, in the median over the layers: over the last quarter of training
    with BatchNorm in training mode the running means stay more than a standard deviation from the
    batches' (0.3, where the momentum is so small that the statistics still hold a fifth of those
    they began with), or variances differ three times. Or a momentum of 0.9 or more is set. Or, in
    evaluation, the outputs of the layers are twice as large or small as scale and shift make of
    variance 1, and in training they are not.

    Source: Ioffe and Szegedy (2015), section 3.1; bounds measured on healthy trainings, whose
    drift falls below 0.5 after some 1 / momentum steps.
    """

    name = "BatchNormDrift"

    def not_applicable(self, history: History) -> str:
        """There must be a BatchNorm with running statistics."""
        kinds = [m for m in history.structure.modules if "BatchNorm" in m.kind]
        if any(m.settings.get("track_running_stats", True) for m in kinds):
            return ""
        return "No BatchNorm keeps running statistics."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for training or the momentum, one for evaluation."""
        steps, drift, spread = _course(history)
        last = steps > steps[-1] * (1 - LAST_SHARE) if len(steps) else steps > 0
        trained = (_middle(drift[last]), _middle(spread[last]))
        training = share_awake(history, "batchnorm_training") > 0.5
        enough = len(steps) > 0 and int(steps[-1]) + 1 >= STEPS
        lagging = trained[0] > NOTICEABLE and len(steps) > 0 and _start_weighs(history, steps[-1])
        if training and enough and (trained[0] > DRIFT or trained[1] > SPREAD or lagging):
            yield self._lag(history, steps, drift, trained)
        elif (momentum := _momentum(history)) is not None and momentum >= LARGE_MOMENTUM:
            yield self._momentum(history, momentum)
        asked, misfit = batchnorm_misfit(history, Mode.EVAL)
        known, usual = batchnorm_misfit(history)
        late = asked >= max(STEPS, (asked[-1] if len(asked) else 0) * (1 - LAST_SHARE))
        there = _middle(misfit[late])
        here = _middle(usual[known > (known[-1] if len(known) else 0) * (1 - LAST_SHARE)])
        if there > MISFIT * max(here, 1.0):
            yield self._evaluation(asked[late], there, here)

    def _lag(
        self, history: History, steps: Integers, drift: Floats, measured: tuple[float, float]
    ) -> Finding:
        momentum = _momentum(history)
        small = momentum is not None and momentum < USUAL_MOMENTUM / 2
        cause = Cause(
            name="batchnorm-momentum",
            text="The momentum is too small for the number of steps: the statistics lag behind.",
            fix=f"Set BatchNorm's momentum to {USUAL_MOMENTUM}, PyTorch's default.",
            score=0.9 if small else 0.3,
            evidence=f"A momentum of {momentum} forgets in {1 / (momentum or 0.1):,.0f} steps.",
            change={"batchnorm.momentum": USUAL_MOMENTUM},
        )
        unstable = Cause(
            name="learning-rate-too-high",
            text="The weights change faster than running averages can follow.",
            fix="Lower the learning rate to a third, or average over more steps before evaluating.",
            score=0.3 if small else 0.55,
            evidence=f"The running means stay {measured[0]:.2g} deviations from the batches'.",
        )
        first = steps[drift > min(DRIFT, measured[0])]
        return Finding(
            rule=self.name,
            where="BatchNorm",
            severity=Severity.WARNING,
            title=(
                f"BatchNorm's running statistics do not follow: in the last quarter their means "
                f"are {measured[0]:.2g} deviations from the batches' and variances "
                f"{measured[1]:.2g} times off."
            ),
            causes=tuple(sorted((cause, unstable), key=lambda c: -c.score)),
            count=max(len(first), 1),
            first_step=int(first[0]) if len(first) else int(steps[0]),
            last_step=int(steps[-1]),
            measured=measured[0] if measured[1] <= SPREAD else measured[1],
            threshold=DRIFT if measured[1] <= SPREAD else SPREAD,
            plot=line_plot(steps, {"drift in deviations": drift}, threshold=DRIFT),
        )

    def _momentum(self, history: History, momentum: float) -> Finding:
        return Finding(
            rule=self.name,
            where="BatchNorm",
            severity=Severity.WARNING,
            title=(
                f"BatchNorm's momentum of {momentum:g} makes the running statistics those of the "
                "last batch."
            ),
            causes=(
                Cause(
                    name="batchnorm-momentum",
                    text="In PyTorch the momentum is the weight of the new batch, not of the old.",
                    fix=f"Set BatchNorm's momentum to {max(1 - momentum, 0.01):.2g}.",
                    score=0.9,
                    evidence=f"The layers' momentum is {momentum:g}; the default is 0.1.",
                    change={"batchnorm.momentum": round(max(1 - momentum, 0.01), 4)},
                ),
            ),
            first_step=0 if history.last_step else None,
            last_step=history.last_step or None,
            measured=momentum,
            threshold=LARGE_MOMENTUM,
            plot={"bars": [momentum, USUAL_MOMENTUM], "of": "momentum, and PyTorch's default"},
        )

    def _evaluation(self, steps: Integers, there: float, here: float) -> Finding:
        return Finding(
            rule=self.name,
            where="evaluation",
            severity=Severity.WARNING,
            title=(
                f"In evaluation, what BatchNorm puts out is {there:.2g} times too large or too "
                f"small (in training {here:.2g}): its running statistics do not fit the photos."
            ),
            causes=(
                Cause(
                    name="preprocessing-differs",
                    text="Evaluation's photos are prepared in another way, or are other photos.",
                    fix="Prepare photos for evaluation as for training, without augmentation.",
                    score=0.6,
                    evidence=f"{there:.2g} times in evaluation, {here:.2g} in training.",
                ),
                Cause(
                    name="batchnorm-momentum",
                    text="The running statistics have not followed the training.",
                    fix=f"Set BatchNorm's momentum to {USUAL_MOMENTUM}, PyTorch's default.",
                    score=0.4,
                    evidence="In training BatchNorm normalises by the batch, in evaluation not.",
                    change={"batchnorm.momentum": USUAL_MOMENTUM},
                ),
            ),
            count=len(steps),
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            measured=there,
            threshold=MISFIT,
            plot={"bars": [there, here], "of": "times off in evaluation, and in training"},
        )


def _course(history: History) -> tuple[Integers, Floats, Floats]:
    """Steps, drift and ratio of variances (1 or more), medians over the layers."""
    drift = history.series(Group.BATCHNORM, Statistic.DRIFT)
    spread = history.series(Group.BATCHNORM, Statistic.VARIANCE_RATIO)
    if not 0 < len(drift) == len(spread) or not drift.names:
        return np.empty(0, np.int64), np.empty(0), np.empty(0)
    usable = np.isfinite(drift.values).any(axis=1) & np.isfinite(spread.values).any(axis=1)
    if not usable.any():
        return np.empty(0, np.int64), np.empty(0), np.empty(0)
    off = np.exp(np.abs(np.log(np.maximum(spread.values[usable], 1e-12))))
    return (
        drift.steps[usable],
        np.nanmedian(drift.values[usable], axis=1),
        np.nanmedian(off, axis=1),
    )


def _start_weighs(history: History, steps: int) -> bool:
    """Whether the running statistics are still largely those that they began with."""
    momentum = _momentum(history)
    return momentum is not None and 0 < momentum < 1 and (1 - momentum) ** steps > START


def _middle(values: Floats) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _momentum(history: History) -> float | None:
    """The BatchNorms' median momentum; None when it is a plain average or unknown."""
    known = [
        float(m.settings["momentum"])
        for m in history.structure.modules
        if "BatchNorm" in m.kind and m.settings.get("momentum") is not None
    ]
    return float(np.median(known)) if known else None
