"""The memory in use grows with every step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import size

__all__ = ["MemoryGrowth"]

STEPS = 60
WARM_UP = 0.2
LEAST_BYTES = 50e6
GROWTH = 0.1
STEADY = 0.9
EVEN = 0.4


class MemoryGrowth(Rule):
    """The memory in use grows from step to step without end, until the training is killed: losses
    or outputs are kept with their graphs, or batches are collected in a list.

    Condition, from 60 steps on and leaving out the first fifth: memory rises by 10 % and 50 MB,
    in nine of ten comparisons of a later with an earlier tenth of the steps, and the last half
    rises at least 0.4 times as fast as the whole (it does not level off). While photos come that
    were never seen before it is a remark unless memory doubles: a data set may be filling a cache.

    Source: PyTorch's FAQ, "My model reports out of memory": don't accumulate history across the
    training loop.
    """

    name = "MemoryGrowth"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the process."""
        memory = history.scalar("memory_bytes")
        memory = memory.at(np.isfinite(memory.values[:, 0])) if len(memory) else memory
        if len(memory) < STEPS:
            return
        used = memory.values[int(len(memory) * WARM_UP) :, 0]
        tenths = np.array([float(np.median(part)) for part in np.array_split(used, 10)])
        growth = float(tenths[-1] - tenths[0])
        later, earlier = np.triu_indices(10, 1)[::-1]
        rising = float((tenths[later] > tenths[earlier]).mean())
        still = float(tenths[-1] - tenths[5]) / 4 >= EVEN * growth / 9
        if growth < max(LEAST_BYTES, GROWTH * tenths[0]) or rising < STEADY or not still:
            return
        doubled = growth > tenths[0]
        first = int(memory.steps[int(len(memory) * WARM_UP)])
        rate = growth / max(int(memory.steps[-1]) - first, 1)
        yield Finding(
            rule=self.name,
            where="memory",
            severity=Severity.INFO if _fresh(history) and not doubled else Severity.WARNING,
            title=(
                f"Memory grows by {size(rate)} a step: from {size(tenths[0])} to "
                f"{size(tenths[-1])} in {int(memory.steps[-1]) - first:,} steps."
            ),
            causes=(
                Cause(
                    name="memory-leak",
                    text="Something computed in a step is kept, with the graph that made it.",
                    fix=(
                        "Add up loss.item() instead of loss, keep outputs after .detach().cpu(), "
                        "and empty lists at the end of an epoch."
                    ),
                    score=0.85,
                    evidence=f"It rose in {rising:.0%} of comparisons and does not level off.",
                ),
                Cause(
                    name="data-cached",
                    text="The data set keeps every photo it has read.",
                    fix="Nothing, if all photos fit into memory; otherwise do not keep them.",
                    score=0.5 if _fresh(history) else 0.15,
                    evidence="",
                ),
            ),
            count=len(used),
            first_step=first,
            last_step=int(memory.steps[-1]),
            measured=growth,
            threshold=max(LEAST_BYTES, GROWTH * float(tenths[0])),
            plot=line_plot(memory.steps, {"bytes": memory.values[:, 0]}),
        )


def _fresh(history: History) -> bool:
    """Whether, in the last half of the training, photos still come for the first time."""
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT).together()
    if not len(marks):
        return False
    _, first = np.unique(marks, return_index=True)
    return bool((first >= len(marks) // 2).sum() > 0.05 * len(marks))
