"""A training that is over before it has begun."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import Examples, batches, passes
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import whole_batches
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["FewSteps"]

MOST = 20
EVALUATIONS = 3
AN_EPOCH = 2


class FewSteps(Rule):
    """The whole training is a handful of steps: an epoch ends after a batch or two, by a `break`,
    a limit left from trying the script out, or a `return` within the loop.

    Condition, once the training has ended: at most 20 steps of the optimizer in all, at most two
    of them between one evaluation and the next (of three and more), and each evaluation asks for
    more photos than training saw in between. Not where each step has all photos: the same ones come
    in another order, or the optimizer is L-BFGS.

    Source: ours.
    """

    name = "FewSteps"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        if not history.ended:
            return
        trained, asked = batches(history), passes(history)
        steps = len(np.unique([batch.step for batch in trained]))
        if not 0 < steps <= MOST or len(asked) < EVALUATIONS:
            return
        between = np.diff([0, *(one.step for one in asked)])
        photos = int(np.median([max(len(b.labels), len(b.predictions)) for b in trained]))
        if _all_at_once(history, trained):
            return
        if max(between) > AN_EPOCH or len(asked[-1].labels) <= photos * max(between):
            return
        loss = history.scalar("loss")
        factor = 20
        yield Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING,
            title=(
                f"The whole training was {plural(steps, 'step')} of {photos} photos, at most "
                f"{max(between)} between evaluations of {len(asked[-1].labels):,}."
            ),
            causes=(
                Cause(
                    name="training-too-short",
                    text="Each epoch ends after a batch or two.",
                    fix="Take the break, the return or the limit out of the loop over batches, and "
                    f"train for {factor} times as many steps or more.",
                    score=0.93,
                    evidence=f"{plural(steps, 'step')} of the optimizer in "
                    f"{plural(len(asked), 'epoch')}.",
                    change={"steps_factor": float(factor)},
                ),
            ),
            first_step=0,
            last_step=history.last_step,
            count=steps,
            measured=float(steps),
            threshold=float(MOST),
            plot=line_plot(loss.steps, {"loss": loss.of("loss")}),
        )


def _all_at_once(history: History, trained: Sequence[Examples]) -> bool:
    """Whether every step has the whole data set, so that an epoch is one step by design."""
    if whole_batches(history.structure):
        return True
    marks = [batch.fingerprints for batch in trained if len(batch.fingerprints)]
    photos = {np.sort(one).tobytes() for one in marks}
    orders = {one.tobytes() for one in marks}
    return len(photos) == 1 < len(orders)
