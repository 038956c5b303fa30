"""The loss or the weights are no longer numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History, Series
from houndsight.debugger.optimisation import (
    peak_rate,
    suggested_rate,
    training_loss,
    weight_ratios,
)
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number, plural

__all__ = ["LossNotFinite"]

LOOKED_BACK = 10
LARGE_RATIO = 0.1
GREW = 3.0
PASSING_SHARE = 0.02
Steps = npt.NDArray[np.int64]


class LossNotFinite(Rule):
    """The loss, or the weights, became NaN or infinite: from then on nothing is learnt.

    Condition: a training or evaluation loss is not finite at any step, or a parameter's length
    is. Batches of which the training recovers, up to one in fifty, are a warning,
    more are an error. What came first tells the cause: an input that is not finite; a loss that
    grew threefold, or steps larger than a tenth of the weights, within the ten steps before (the
    learning rate); float16 (its range); none of these (an operation such as log(0) or a division
    by 0 in the loss).

    Source: arithmetic; the ranking of causes is ours.
    """

    name = "LossNotFinite"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding each for training and for evaluation."""
        findings = []
        weights = _broken_weights(history)
        for mode, where in ((Mode.TRAIN, ""), (Mode.EVAL, "evaluation")):
            loss = training_loss(history, mode)
            lost = np.unique(loss.steps[~np.isfinite(loss.values).all(axis=1)])
            steps = np.union1d(lost, weights) if mode == Mode.TRAIN else lost
            if len(steps):
                findings.append(self._finding(history, loss, where, steps, weights))
        return findings

    def _finding(
        self, history: History, loss: Series, where: str, steps: Steps, weights: Steps
    ) -> Finding:
        first, last = int(steps[0]), int(steps[-1])
        share = min(len(steps) / max(len(np.unique(loss.steps)), 1), 1.0)
        recovers = share <= PASSING_SHARE and last < history.last_step and not len(weights)
        title = (
            f"The {where or 'training'} loss is not a finite number at step {first}"
            f"{_before(loss, first)}, and at {plural(len(steps), 'step')} ({share:.0%}) in all."
        )
        return Finding(
            rule=self.name,
            where=where,
            severity=Severity.WARNING if recovers else Severity.ERROR,
            title=title,
            causes=_causes(history, loss, first),
            count=len(steps),
            first_step=first,
            last_step=last,
            measured=share,
            threshold=0.0,
            plot=line_plot(loss.steps, {"loss": loss.of("loss")}, y_label="loss"),
        )


def _broken_weights(history: History) -> Steps:
    """Steps at which a parameter holds a value that is not finite."""
    norms = history.series(Group.PARAMETERS, Statistic.NORM)
    broken = norms.present & ~np.isfinite(norms.values)
    return norms.steps[broken.any(axis=1)]


def _before(loss: Series, first: int) -> str:
    known = loss.values[(loss.steps < first) & np.isfinite(loss.values[:, 0]), 0]
    return f", after {number(known[-1])} at the step before" if len(known) else ""


def _causes(history: History, loss: Series, first: int) -> tuple[Cause, ...]:
    candidates = [_input(history, first), _rate(history, loss, first), _range(history)]
    causes = [cause for cause in candidates if cause]
    operation = Cause(
        name="unsafe-operation",
        text="An operation has no finite value here, such as log(0), a division by 0 or sqrt at 0.",
        fix=(
            "Compute the loss from logits (CrossEntropyLoss, BCEWithLogitsLoss), add a small "
            "number inside log, sqrt and divisions, and find the line with "
            "torch.autograd.detect_anomaly()."
        ),
        score=0.3 if causes else 0.7,
        evidence="" if causes else "Inputs, loss and step sizes were ordinary until then.",
    )
    return tuple(sorted([*causes, operation], key=lambda cause: -cause.score))


def _input(history: History, first: int) -> Cause | None:
    for statistic in (Statistic.MAXIMUM, Statistic.MEAN, Statistic.MINIMUM):
        inputs = history.series(Group.INPUTS, statistic).between(first, first)
        if len(inputs) and not np.isfinite(inputs.values).all():
            return Cause(
                name="non-finite-input",
                text="The batch holds values that are not finite before the network sees it.",
                fix=(
                    "Look for empty or damaged photos and for a division by a standard deviation "
                    "of 0 in the preprocessing, and leave such photos out."
                ),
                score=0.95,
                change={"inputs.finite": True},
                evidence=f"The input's {statistic.value} at step {first} is not finite.",
            )
    return None


def _rate(history: History, loss: Series, first: int) -> Cause | None:
    recent = loss.between(first - LOOKED_BACK, first - 1).values[:, 0]
    ratios, middle = weight_ratios(history)
    near = middle[(ratios.steps >= first - LOOKED_BACK) & (ratios.steps <= first)]
    largest = float(near.max()) if len(near) else 0.0
    start = recent[np.isfinite(recent)]
    grew = float(start.max() / start.min()) if len(start) > 1 and start.min() > 0 else 1.0
    early = first <= LOOKED_BACK and not len(start)
    if largest < LARGE_RATIO and (grew < GREW or largest == 0.0) and not early:
        return None
    rate, better = peak_rate(history), suggested_rate(history)
    known = np.isfinite(better) and better < rate
    change: dict[str, Any] = {"learning_rate": better} if known else {}
    return Cause(
        name="learning-rate-too-high",
        text="Steps too large for the network made the weights run away.",
        fix=(
            f"Lower the learning rate from {number(rate)} to "
            f"{number(better) if known else 'a tenth of it'} (an estimate from the first steps)."
        ),
        score=0.85 if largest >= LARGE_RATIO else 0.5,
        evidence=(
            f"In the {LOOKED_BACK} steps before, updates were up to {number(largest)} of the "
            f"weights' length and the loss grew {number(grew)} times."
        ),
        change=change,
    )


def _range(history: History) -> Cause | None:
    if "16" not in history.structure.precision and not len(history.scalar("loss_scale")):
        return None
    return Cause(
        name="mixed-precision-overflow",
        text="A value left the range of 16-bit numbers (65,504 in float16).",
        fix="Use bfloat16, or keep the loss and the normalisation in float32 under autocast.",
        score=0.55,
        evidence=f"The training computes in {history.structure.precision}.",
        change={"precision": "bfloat16"},
    )
