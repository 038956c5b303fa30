"""BatchNorm takes its statistics from a few photos."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import Floats, Integers, share_awake
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["BatchNormSmallBatch"]

SMALL = 4
REMARKED = 7
FORWARDS = 5


class BatchNormSmallBatch(Rule):
    """BatchNorm normalises by the mean and variance of a handful of photos: training is noisy,
    and evaluation, which uses running averages of them, sees another network. Accumulating
    gradients does not help, since each micro-batch is normalised by itself.

    Condition: BatchNorm is in training mode and the median batch of a forward has four examples
    or fewer (five to seven are a remark). A last batch of an epoch with a single example is a
    remark of its own.

    Source: Wu and He, Group Normalization (ECCV 2018), figure 1: ResNet-50's error rises from
    23.6 % at 32 images to 27.3 % at 4 and 34.7 % at 2.
    """

    name = "BatchNormSmallBatch"

    def not_applicable(self, history: History) -> str:
        """There must be a BatchNorm."""
        if any("BatchNorm" in module.kind for module in history.structure.modules):
            return ""
        return "The network has no BatchNorm."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for small batches, or one for single last ones."""
        steps, sizes = _sizes(history)
        if len(sizes) < FORWARDS or share_awake(history, "batchnorm_training") < 0.5:
            return
        usual = float(np.median(sizes))
        if usual <= REMARKED:
            yield self._finding(steps, sizes, sizes <= REMARKED, usual)
        elif (sizes == 1).any():
            yield self._finding(steps, sizes, sizes == 1, 1.0)

    def _finding(self, steps: Integers, sizes: Floats, held: np.ndarray, size: float) -> Finding:
        rest = float(np.median(sizes)) > REMARKED
        title = (
            f"{plural(int(held.sum()), 'batch', 'batches')} of {len(sizes):,} held a single "
            "example, whose BatchNorm statistics are its own."
            if rest
            else f"BatchNorm takes its statistics from batches of {size:.0f}."
        )
        return Finding(
            rule=self.name,
            where="BatchNorm",
            severity=Severity.WARNING if size <= SMALL and not rest else Severity.INFO,
            title=title,
            causes=(
                Cause(
                    name="batchnorm-small-batch",
                    text=(
                        "The last batch of an epoch is what is left over."
                        if rest
                        else "The batch is too small for BatchNorm."
                    ),
                    fix=(
                        "Set drop_last=True in the training's DataLoader."
                        if rest
                        else "Use 16 photos a batch or more, freeze BatchNorm's pretrained "
                        "statistics (eval mode), or use GroupNorm."
                    ),
                    score=0.9,
                    evidence=f"The median of {len(sizes):,} batches is {np.median(sizes):.0f}.",
                    change={"drop_last": True} if rest else {"batch_size": 16},
                ),
            ),
            count=int(held.sum()),
            first_step=int(steps[held][0]),
            last_step=int(steps[held][-1]),
            measured=size,
            threshold=float(SMALL),
            plot=line_plot(steps, {"examples a batch": sizes}),
        )


def _sizes(history: History) -> tuple[Integers, Floats]:
    """Steps and examples of each training forward."""
    for group, statistic in (
        (Group.EXAMPLES, Statistic.FINGERPRINT),
        (Group.LABELS, Statistic.VALUE),
    ):
        rows = history.batches(group, statistic)
        if len(rows):
            return rows.steps, np.array([len(values) for values in rows.values], np.float64)
    size = history.scalar("batch_size")
    return size.steps, size.values[:, 0] if len(size) else np.empty(0)
