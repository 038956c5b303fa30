"""The network sees the same thing again and again, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["ConstantInputs"]

BATCHES = 3
LEAST_BATCH = 4
DISTINCT = 0.1
SHARE = 0.9
FLAT = 1e-6


class ConstantInputs(Rule):
    """Every pixel has the same value, or the photos of a batch are copies of each other, so that
    there is nothing to tell classes apart by: a reader that returns an empty array, an index that
    is not used, a buffer that is overwritten while the batch is put together.

    Condition: in nine of ten batches, at least three, the standard deviation of every channel is
    below a millionth of the values' size; or, in batches of four and more, under a tenth of the
    examples (or only one) are distinct by fingerprint. A single channel that is constant is a
    remark.

    Source: ours.
    """

    name = "ConstantInputs"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for flat inputs, one for copies."""
        yield from self._flat(history)
        yield from self._copies(history)

    def _flat(self, history: History) -> Iterable[Finding]:
        spread = history.series(Group.INPUTS, Statistic.STD)
        mean = history.series(Group.INPUTS, Statistic.MEAN)
        if not BATCHES <= len(spread) == len(mean) or spread.names != mean.names:
            return
        flat = spread.values <= FLAT * (np.abs(mean.values) + FLAT)
        channels = flat.mean(axis=0) >= SHARE
        if not channels.any():
            return
        whole = bool(channels.all())
        named = ", ".join(n for n, is_flat in zip(spread.names, channels, strict=True) if is_flat)
        steps = spread.steps[flat[:, channels].all(axis=1)]
        yield Finding(
            rule=self.name,
            where="inputs",
            severity=Severity.ERROR if whole else Severity.INFO,
            title=(
                f"{'Every input is' if whole else f'Channel {named} of the input is'} constant "
                f"in {len(steps):,} of {len(spread):,} batches."
            ),
            causes=(
                Cause(
                    name="constant-inputs",
                    text="The photos are empty when they reach the network.",
                    fix="Show a batch as pictures just before the network, then walk back.",
                    score=0.9 if whole else 0.4,
                    evidence=f"The standard deviation of channel {named} is 0.",
                    change={"inputs.loading": True} if whole else {},
                ),
            ),
            count=len(steps),
            first_step=int(steps[0]) if len(steps) else None,
            last_step=int(steps[-1]) if len(steps) else None,
            measured=float(flat.mean()),
            threshold=SHARE,
            plot=line_plot(spread.steps, {f"channel {n}": spread.of(n) for n in spread.names[:4]}),
        )

    def _copies(self, history: History) -> Iterable[Finding]:
        marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT)
        sizes = np.array([len(values) for values in marks.values])
        distinct = np.array([len(np.unique(values)) for values in marks.values])
        large = sizes >= LEAST_BATCH
        if large.sum() < BATCHES:
            return
        copies = large & ((distinct == 1) | (distinct < DISTINCT * sizes))
        if copies.sum() < SHARE * large.sum():
            return
        yield Finding(
            rule=self.name,
            where="batches",
            severity=Severity.WARNING,
            title=(
                f"Batches hold copies: of {np.median(sizes[copies]):.0f} examples in a batch, "
                f"{np.median(distinct[copies]):.0f} is the usual number of different ones."
            ),
            causes=(
                Cause(
                    name="constant-inputs",
                    text="The data set returns the same photo for every index.",
                    fix="Check that __getitem__ uses its index and returns a new array each time.",
                    score=0.9,
                    evidence=(
                        f"{len(np.unique(marks.together())):,} different examples in "
                        f"{int(sizes.sum()):,}."
                    ),
                ),
            ),
            count=int(copies.sum()),
            first_step=int(marks.steps[copies][0]),
            last_step=int(marks.steps[copies][-1]),
            measured=float((distinct[copies] / sizes[copies]).mean()),
            threshold=DISTINCT,
            plot=line_plot(marks.steps, {"different examples": distinct.astype(float)}),
        )
