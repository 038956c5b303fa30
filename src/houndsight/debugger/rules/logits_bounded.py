"""Outputs that cannot leave a small range, so that the loss cannot fall."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches, class_count, joined, tail
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LogitsBounded"]

STEPS = 60
LIMIT = 1.0001
FULL, SMALLEST = 0.75, -0.2
RIGHT = 0.6
UNSURE = 0.6


class LogitsBounded(Rule):
    """The outputs cannot leave -1 to 1 (cosines without a scale, a tanh at the end): however sure
    the network is, a softmax of them is nearly even, the loss stays high and keeps pulling at
    photos that are right already.

    Condition, from 60 steps on: no output was ever beyond -1 to 1, the largest of late are 0.75 and
    more and the smallest -0.2 and less, and of the last fifth of training 60 % are right while the
    mean entropy of the answers is still 60 % of ln C. Not where the loss gets probabilities.

    Source: Wang et al., NormFace (2017), proposition 2: without a scale the loss of normalised
    features has a lower bound, ln(1 + (C - 1) exp(-C / (C - 1))).
    """

    name = "LogitsBounded"

    def not_applicable(self, history: History) -> str:
        """Cross-entropy takes a softmax of what it gets."""
        loss = history.structure.loss
        if loss is not None and loss.kind != "cross_entropy":
            return f"{loss.kind} takes no softmax."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the outputs."""
        classes = class_count(history)
        low, high, entropy = (
            history.series(Group.LOGITS, statistic)
            for statistic in (Statistic.MINIMUM, Statistic.MAXIMUM, Statistic.ENTROPY)
        )
        trained = [batch for batch in batches(history) if batch.judged]
        if len(low) < STEPS or not len(low) == len(high) == len(entropy) or classes < 3:
            return
        softmaxed = history.flag("inputs_softmaxed").values
        if not trained or np.nansum(softmaxed) > 0:
            return
        largest = float(np.max(np.maximum(-low.values, high.values)))
        if not largest <= LIMIT:  # NaN is no bound either
            return
        late = max(len(low) // 5, 1)
        reached = float(np.median(high.values[-late:]))
        negative = float(np.median(low.values[-late:])) <= SMALLEST
        unsure = float(np.median(entropy.values[-late:])) / math.log(classes)
        right = joined(tail(trained, 0.2)).accuracy
        if not negative or reached < FULL or right < RIGHT or not unsure >= UNSURE:
            return
        loss = history.scalar("loss")
        yield Finding(
            rule=self.name,
            where="outputs",
            severity=Severity.WARNING,
            title=(
                f"No output was ever beyond {number(-largest)} to {number(largest)}: {right:.0%} "
                f"are right, and the answers are still {unsure:.0%} as uncertain as guessing."
            ),
            causes=(
                Cause(
                    name="logits-bounded",
                    text="The outputs are cosines, or end in a tanh, without a scale.",
                    fix="Multiply the cosines by a scale of 16 or a learnt one, or let a plain "
                    "Linear layer make the outputs.",
                    score=0.94,
                    evidence=f"Largest output in {len(low):,} steps: {number(largest)}.",
                    change={"head.scale": 16.0, "remove": "Tanh"},
                ),
            ),
            count=len(low),
            first_step=int(low.steps[0]),
            last_step=int(low.steps[-1]),
            measured=largest,
            threshold=1.0,
            plot=line_plot(loss.steps, {"loss": loss.of("loss")}),
        )
