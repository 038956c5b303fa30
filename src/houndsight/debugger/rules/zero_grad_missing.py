"""Gradients of earlier steps add up."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number, plural

__all__ = ["ZeroGradMissing"]

JUDGED_STEPS = 5
OFTEN, ALWAYS = 0.05, 0.5


class ZeroGradMissing(Rule):
    """Gradients are not set to zero between steps: each step repeats all gradients before it.

    Condition: at the beginning of a step's first backward pass the gradients of an earlier step
    were still there, at more than half of the steps after the first (an error) or at more than
    a twentieth (a warning), and five times at least. Micro-batches of one step may add up.

    Source: Humbatova et al., Taxonomy of Real Faults in Deep Learning Systems (ICSE 2020).
    """

    name = "ZeroGradMissing"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        flag = history.flag("stale_gradients")
        # Nothing can be left over before the first step that is recorded.
        later = flag.steps > flag.steps.min(initial=np.iinfo(np.int64).max)
        flag = flag.at(later & np.isfinite(flag.of("stale_gradients")))
        # Of a step with an attack or a generator before it, the last one is what trains.
        last = np.append(np.diff(flag.steps) != 0, True)[: len(flag)]
        stale = np.unique(flag.steps[last & (flag.of("stale_gradients") > 0)])
        steps = np.unique(flag.steps)
        share = len(stale) / max(len(steps), 1)
        if len(stale) < JUDGED_STEPS or share <= OFTEN:
            return []
        norms = history.scalar("gradient_norm")
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.ERROR if share > ALWAYS else Severity.WARNING,
                title=(
                    f"Gradients of earlier steps were still there at {len(stale):,} of "
                    f"{plural(len(steps), 'step')} ({share:.0%}), so every step repeats them."
                ),
                causes=(
                    Cause(
                        name="zero-grad-missing",
                        text="optimizer.zero_grad() is not called between steps.",
                        fix=(
                            "Call optimizer.zero_grad() once a step, before loss.backward() or "
                            "right after optimizer.step()."
                        ),
                        score=0.95,
                        evidence=_evidence(norms.values[:, 0] if len(norms) else np.empty(0)),
                        change={"optimizer.zero_grad": True},
                    ),
                ),
                count=len(stale),
                first_step=int(stale[0]),
                last_step=int(stale[-1]),
                measured=share,
                threshold=ALWAYS if share > ALWAYS else OFTEN,
                plot=line_plot(
                    norms.steps, {"gradient": norms.of("gradient_norm")}, y_label="length"
                ),
            )
        ]


def _evidence(norms: np.ndarray) -> str:
    known = norms[np.isfinite(norms)]
    if len(known) < 2 * JUDGED_STEPS:
        return ""
    first, last = np.median(known[:JUDGED_STEPS]), np.median(known[-JUDGED_STEPS:])
    return f"The gradient's length went from {number(first)} to {number(last)}."
