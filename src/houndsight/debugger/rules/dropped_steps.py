"""Gradients that are computed and thrown away."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches
from houndsight.debugger.history import History, Series
from houndsight.debugger.optimisation import known_scalar
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["DroppedSteps"]

JUDGED_STEPS = 10
OFTEN = 0.05


class DroppedSteps(Rule):
    """Batches were computed whose gradients never reached the weights.

    Condition: in more than a twentieth of the batches, five times at least, either the gradients of
    a step's earlier micro-batches were gone when the next one's backward pass began (zero_grad()
    inside the accumulation, or a step that was skipped; not where both are the same photos), or
    the optimizer stepped without any backward pass since the step before. Steps that a gradient
    scaler skipped in its first twenty are ordinary.

    Source: user scripts that call zero_grad() each micro-batch; conditions ours.
    """

    name = "DroppedSteps"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding each for lost gradients and for steps without any."""
        return [*self._lost(history), *self._empty(history)]

    def _lost(self, history: History) -> list[Finding]:
        kept = history.flag("kept_gradients")
        if not len(kept):
            return []
        later = np.isfinite(kept.values[:, 0]) & _others(history, kept)
        begins = 20 if len(history.scalar("loss_scale")) else 0
        lost = later & (kept.values[:, 0] == 0) & (kept.steps >= begins)
        settled = history.flag("training").steps >= begins
        share = float(lost.sum()) / max(int(settled.sum()), 1)
        if share <= OFTEN or lost.sum() < JUDGED_STEPS / 2 or settled.sum() < JUDGED_STEPS:
            return []
        scaler = bool(len(history.scalar("loss_scale")))
        title = (
            f"The gradients of {int(lost.sum()):,} of "
            f"{plural(int(settled.sum()), 'batch', 'batches')} ({share:.0%}) were thrown "
            "away before the optimizer stepped."
        )
        wrong_place = Cause(
            name="zero-grad-misplaced",
            text="zero_grad() is called between the micro-batches of one step, or the optimizer "
            "steps only after some of the batches.",
            fix="Call optimizer.step() after each backward(), and optimizer.zero_grad() after it; "
            "to accumulate, call both once in so many batches.",
            score=0.4 if scaler else 0.8,
            evidence="Gradients of the step's earlier micro-batches were gone at the next one.",
            change={"optimizer.zero_grad": "after step", "optimizer.step": "every batch"},
        )
        skipped = Cause(
            name="mixed-precision-overflow",
            text="Steps were skipped, as a gradient scaler does when gradients overflow.",
            fix="Use bfloat16, or find what overflows float16.",
            score=0.8 if scaler else 0.2,
            change={"precision": "bfloat16"},
        )
        causes = tuple(sorted((wrong_place, skipped), key=lambda cause: -cause.score))
        return [_finding(self.name, "", title, share, kept.steps[lost], causes, history)]

    def _empty(self, history: History) -> list[Finding]:
        micro, passes = known_scalar(history, "micro_batches")
        if len(micro) < JUDGED_STEPS:
            return []
        empty = passes == 0
        share = float(empty.mean())
        if share <= OFTEN or empty.sum() < JUDGED_STEPS / 2:
            return []
        title = (
            f"The optimizer stepped {int(empty.sum()):,} of {plural(len(micro), 'time')} "
            f"({share:.0%}) without a backward pass since the step before."
        )
        cause = Cause(
            name="backward-missing",
            text="optimizer.step() is called more often than loss.backward().",
            fix="Call loss.backward() before each optimizer.step(), and step once a batch.",
            score=0.9,
        )
        return [_finding(self.name, "steps", title, share, micro.steps[empty], (cause,), history)]


def _others(history: History, kept: Series) -> npt.NDArray[np.bool_]:
    """(rows of `kept`,) whether another batch of the same step came before.

    The same photos again are no other batch: closures and sharpness-aware steps ask twice.
    """
    marks = {batch.forward: batch.fingerprints.tobytes() for batch in batches(history)}
    forwards = history.flag("training")
    other, before = {}, (-1, b"")
    for step, forward in zip(forwards.steps.tolist(), forwards.forwards.tolist(), strict=True):
        mark = marks.get(forward, b"")
        other[forward] = step == before[0] and (not mark or mark != before[1])
        before = step, mark
    return np.array([other.get(forward, False) for forward in kept.forwards.tolist()], bool)


def _finding(
    rule: str,
    where: str,
    title: str,
    share: float,
    steps: np.ndarray,
    causes: tuple[Cause, ...],
    history: History,
) -> Finding:
    micro = history.scalar("micro_batches")
    return Finding(
        rule=rule,
        where=where,
        severity=Severity.WARNING,
        title=title,
        causes=causes,
        count=len(steps),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        measured=share,
        threshold=OFTEN,
        plot=line_plot(
            micro.steps, {"backward passes": micro.of("micro_batches")}, y_label="backward passes"
        ),
    )
