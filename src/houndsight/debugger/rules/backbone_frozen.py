"""A backbone that stays as it is though it should have learnt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from houndsight.debugger.conditions import line_plot, progress
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import fresh_share, known_scalar, loss_plot, smoothed_loss
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import ParameterRecord
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["BackboneFrozen"]

MOSTLY = 0.5
PLATEAU_STEPS = 200
POOR_ACCURACY = 0.7
EXAMPLES = 8


class BackboneFrozen(Rule):
    """Most of the network is frozen, and there is a sign that it was meant to train.

    Condition: more than half of the network's values have requires_grad False, and either
    most of these weights still have the lengths that a random draw gives them (BatchNorm scales
    of exactly 1 and shifts of 0): nothing was ever learnt there, which is a warning; or, after
    200 steps, the training accuracy stands still below 0.7: the frozen features cannot tell
    the classes apart, which is a remark, as it is right for some data. A frozen backbone that was
    trained is silent as long as its head learns.

    Source: Kornblith et al., Do Better ImageNet Models Transfer Better? (CVPR 2019) for what
    fine-tuning adds to a frozen backbone; the signs are ours.
    """

    name = "BackboneFrozen"

    def not_applicable(self, history: History) -> str:
        """There have to be frozen parameters."""
        if all(p.trainable for p in history.structure.parameters):
            return "No parameter is frozen."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        parameters = history.structure.parameters
        frozen = [p for p in parameters if not p.trainable]
        share = _values(frozen) / max(_values(parameters), 1)
        if share <= MOSTLY:
            return []
        drawn = fresh_share(history, [p.name for p in frozen])
        if drawn > MOSTLY:
            return [self._untrained(history, frozen, share, drawn)]
        return self._plateau(history, frozen, share)

    def _untrained(
        self, history: History, frozen: Sequence[ParameterRecord], share: float, drawn: float
    ) -> Finding:
        evidence = f"{drawn:.0%} of the frozen weights have exactly the length of a random draw."
        return Finding(
            rule=self.name,
            where=frozen[0].module,
            severity=Severity.WARNING,
            title=(
                f"{share:.0%} of the network's values are frozen and were never trained: the head "
                f"learns on random features."
            ),
            causes=(
                Cause(
                    name="backbone-frozen",
                    text="The backbone is frozen although it starts from random weights.",
                    fix="Set requires_grad=True for it, or load pretrained weights into it.",
                    score=0.9,
                    evidence=evidence,
                    change={"backbone.requires_grad": True},
                ),
                Cause(
                    name="weights-not-loaded",
                    text="Pretrained weights were to be loaded and were not (strict=False?).",
                    fix="Load them, and look at the keys that load_state_dict reports as missing.",
                    score=0.6,
                    evidence=evidence,
                    change={"pretrained": True},
                ),
            ),
            count=len(frozen),
            first_step=0,
            last_step=history.last_step,
            measured=drawn,
            threshold=MOSTLY,
            plot=loss_plot(history),
            examples=tuple(p.name for p in frozen[:EXAMPLES]),
        )

    def _plateau(
        self, history: History, frozen: Sequence[ParameterRecord], share: float
    ) -> list[Finding]:
        did = progress(history, least=PLATEAU_STEPS)
        accuracy = known_scalar(history, "accuracy")[1]
        if did is None or len(accuracy) < PLATEAU_STEPS:
            return []
        quarter = len(accuracy) // 4
        before, last = accuracy[-2 * quarter : -quarter], accuracy[-quarter:]
        error = math.sqrt((float(np.var(before)) + float(np.var(last))) / quarter)
        level = float(last.mean())
        if level >= POOR_ACCURACY or level - float(before.mean()) > max(2 * error, 0.01):
            return []
        loss, smooth = smoothed_loss(history)
        return [
            Finding(
                rule=self.name,
                where=frozen[0].module,
                severity=Severity.INFO,
                title=(
                    f"{share:.0%} of the network's values are frozen and the training accuracy "
                    f"stands still at {level:.1%}: the frozen features carry no more."
                ),
                causes=(
                    Cause(
                        name="backbone-frozen",
                        text="The frozen features do not tell these classes apart.",
                        fix="Train the last blocks too, at a tenth of the head's learning rate.",
                        score=0.6,
                        evidence=f"The loss went from {number(did.start)} to {number(did.recent)}.",
                        change={"backbone.requires_grad": True},
                    ),
                ),
                count=len(frozen),
                first_step=int(loss.steps[-2 * quarter]),
                last_step=int(loss.steps[-1]),
                measured=level,
                threshold=POOR_ACCURACY,
                plot=line_plot(loss.steps, {"loss": smooth}, y_label="loss"),
            )
        ]


def _values(parameters: Sequence[ParameterRecord]) -> int:
    return sum(math.prod(p.shape) for p in parameters)
