"""The outputs are multiplied before they reach the loss."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import class_count
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import head_makes_outputs, loss_plot
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LogitsScaled"]

SMALL, LARGE = 0.1, 8.0
START = 3
ABOVE = 1.5
WARMEST = 0.049
"""A temperature of 20."""
NEAR = 0.01
KINDS = ("cross_entropy",)


class LogitsScaled(Rule):
    """Between the network's outputs and the loss they are divided by a temperature, or multiplied.
    Divided by a hundred, all classes look alike to the loss until the outputs have grown a
    hundredfold; multiplied by a hundred, the untrained network is sure of nonsense.

    Condition, of cross-entropy at the first step: what it takes is the model's output times one
    number. Below 0.1 is a warning, and a remark down to 1/20 where the targets are probabilities,
    as a teacher's are. Above 8 it is a warning where the first losses are more than 1.5 times
    ln(classes), else a remark; and a remark where the outputs stay between -1 and 1 and no layer of
    that width made them: cosines want a scale of that size, and their loss begins high.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network (2015), where temperatures
    are 1 to 20 and for soft targets only; Wang et al., NormFace (2017), of the scale of cosines.
    """

    name = "LogitsScaled"

    def not_applicable(self, history: History) -> str:
        """What the loss takes has to be known beside what the network gives."""
        loss = history.structure.loss
        if loss is None or loss.kind not in KINDS:
            return "The loss is no cross-entropy of PyTorch's."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the loss."""
        loss = history.structure.loss
        factor = loss.factor if loss is not None else None
        if factor is None or not (0 < factor < SMALL or factor > LARGE):
            return []
        classes = max(class_count(history), 2)
        first = history.scalar("loss").of("loss")[:START]
        level = float(np.nanmean(first)) / math.log(classes) if np.isfinite(first).any() else 0.0
        if factor < SMALL:
            grave = factor < WARMEST or not _taught(history)
        else:
            grave = level > ABOVE and not _cosines(history, factor)
        said = f"divided by {number(1 / factor)}" if factor < 1 else f"multiplied by {factor:.3g}"
        return [
            Finding(
                rule=self.name,
                where="outputs",
                severity=Severity.WARNING if grave else Severity.INFO,
                title=f"The network's outputs are {said} before the loss.",
                causes=(
                    Cause(
                        name="temperature-wrong",
                        text="A temperature stands before the loss where none belongs."
                        if factor < 1
                        else "A scale stands before the loss that is too large for these outputs.",
                        fix="Give the loss the outputs as they are; a temperature belongs into "
                        "distillation and calibration.",
                        score=0.95,
                        evidence=f"The loss begins at {level:.3g} times ln({classes}), and the "
                        f"gradient at the outputs is {number(factor)} times what it would be.",
                        change={"loss.temperature": 1.0},
                    ),
                ),
                first_step=0,
                last_step=history.last_step,
                measured=factor,
                threshold=SMALL if factor < 1 else LARGE,
                plot=loss_plot(history),
            )
        ]


def _taught(history: History) -> bool:
    """Whether the targets of training are probabilities."""
    flag = history.flag("targets_probabilities").values
    return len(flag) > 0 and float(flag.mean()) > 0.5


def _cosines(history: History, factor: float) -> bool:
    """Whether what is multiplied are cosines."""
    least, most = (
        history.series(Group.LOGITS, statistic).values
        for statistic in (Statistic.MINIMUM, Statistic.MAXIMUM)
    )
    if not len(least) or head_makes_outputs(history.structure):
        return False
    reach = max(-float(np.nanmin(least)), float(np.nanmax(most))) / factor
    return reach <= 1 + NEAR
