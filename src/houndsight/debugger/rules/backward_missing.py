"""Steps of the optimizer that no backward pass of the network has ever reached."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.record import Mode
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["BackwardMissing"]

STEPS = 5


class BackwardMissing(Rule):
    """The optimizer steps and nothing is trained: no gradient ever came back to the network.
    Either `loss.backward()` is not called, or it is called on a copy of the loss that no longer
    knows the network.

    Condition: five times and more the optimizer stepped after a forward with gradients enabled
    that no backward pass had reached, and not a single training step was ever recorded.

    Source: ours; both stand in questions of beginners, the second as `torch.tensor(loss)` and
    `Variable(loss, requires_grad=True)`.
    """

    name = "BackwardMissing"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        if len(history.flag("training")):
            return
        forwards = [(mode, history.flag("stepped", mode)) for mode in (Mode.EVAL, Mode.PREDICT)]
        mode, stepped = max(forwards, key=lambda pair: len(pair[1]))
        count = int((stepped.values > 0).sum())
        if count < STEPS:
            return
        loss = history.scalar("loss", mode)
        loss = loss.at(np.isin(loss.forwards, stepped.forwards))
        yield Finding(
            rule=self.name,
            where="",
            severity=Severity.ERROR,
            title=(
                f"The optimizer stepped {count:,} times and no gradient ever came back to the "
                "network: nothing is trained."
            ),
            causes=(
                Cause(
                    name="backward-missing",
                    text="loss.backward() is not called before optimizer.step().",
                    fix="Call loss.backward() on the loss itself before each optimizer.step().",
                    score=0.95,
                    evidence="No parameter had a gradient at any step.",
                    change={"backward": "loss"},
                ),
                Cause(
                    name="detached",
                    text="backward() is called on a copy of the loss, such as torch.tensor(loss), "
                    "loss.detach(), loss.item() or a Variable made of it.",
                    fix="Call backward() on what the criterion returned.",
                    score=0.6,
                    change={"backward": "loss"},
                ),
            ),
            count=count,
            first_step=0,
            last_step=history.last_step,
            measured=float(count),
            threshold=float(STEPS),
            plot=line_plot(loss.forwards, {"loss": loss.of("loss")}) if len(loss) else {},
        )
