"""The processes of a distributed training do not train the same network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["RanksDisagree"]

TOLERANCE = 1e-4
STEPS = 3
SAME_DATA = 0.5
LOSS_RATIO = 2.0
LOSS_STEPS = 30


class RanksDisagree(Rule):
    """The processes of a distributed training drift apart, or all do the same work: parameters
    that must be equal differ, every process draws the same photos, or one has a loss of its own.

    Condition: at three common steps or more a parameter's length differs between two processes by
    more than 1e-4 of itself (gradients are averaged exactly, so that they should be equal); or
    half of at least three common batches of two processes hold the same examples; or, over the
    last 30 common steps, the median loss of a process is twice another's (their data differ).

    Source: PyTorch's `DistributedDataParallel` and `DistributedSampler`.
    """

    name = "RanksDisagree"

    def not_applicable(self, history: History) -> str:
        """One process has nobody to disagree with."""
        if history.ranks or (history.structure.world_size > 1 and not history.ended):
            return ""
        return "The training has a single process, or only one was recorded."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding each for parameters, data and losses."""
        for number, other in enumerate(history.ranks, start=1):
            found = [
                *_parameters(history, other, number),
                *_same_data(history, other, number),
                *_losses(history, other, number),
            ]
            if found:
                yield from found
                return


def _parameters(history: History, other: History, number: int) -> Iterable[Finding]:
    mine = history.series(Group.PARAMETERS, Statistic.NORM)
    theirs = other.series(Group.PARAMETERS, Statistic.NORM)
    names = [name for name in mine.names if name in theirs.names]
    steps, i, j = np.intersect1d(mine.steps, theirs.steps, return_indices=True)
    if len(steps) < STEPS or not names:
        return
    a, b = mine.only(names).values[i], theirs.only(names).values[j]
    with np.errstate(all="ignore"):
        gap = np.nan_to_num(np.abs(a - b) / np.maximum(np.maximum(abs(a), abs(b)), 1e-12))
    held = (gap > TOLERANCE).any(axis=1)
    if held.sum() < STEPS:
        return
    worst = int(gap.max(axis=0).argmax())
    yield Finding(
        rule=RanksDisagree.name,
        where="parameters",
        severity=Severity.ERROR,
        title=(
            f"Processes 0 and {number} train different networks: {names[worst]} differs by "
            f"{gap[:, worst].max():.1e} of its length, since step {steps[held][0]}."
        ),
        causes=(
            Cause(
                name="ranks-disagree",
                text="The processes do not average their gradients, or began from other weights.",
                fix=(
                    "Wrap the network in DistributedDataParallel before making the optimizer, and "
                    "call the wrapped module, not .module, in the training step."
                ),
                score=0.9,
                evidence=f"{int((gap.max(axis=0) > TOLERANCE).sum())} of {len(names)} differ.",
            ),
        ),
        count=int(held.sum()),
        first_step=int(steps[held][0]),
        last_step=int(steps[held][-1]),
        measured=float(gap.max()),
        threshold=TOLERANCE,
        plot=line_plot(steps, {"largest difference": gap.max(axis=1)}, threshold=TOLERANCE),
    )


def _same_data(history: History, other: History, number: int) -> Iterable[Finding]:
    mine = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT)
    theirs = other.batches(Group.EXAMPLES, Statistic.FINGERPRINT)
    forwards, i, j = np.intersect1d(mine.forwards, theirs.forwards, return_indices=True)
    same = np.array(
        [
            len(np.intersect1d(mine.values[a], theirs.values[b])) > SAME_DATA * len(mine.values[a])
            for a, b in zip(i, j, strict=True)
        ],
        bool,
    )
    if len(forwards) < STEPS or same.sum() < STEPS or same.mean() < SAME_DATA:
        return
    steps = mine.steps[i][same]
    yield Finding(
        rule=RanksDisagree.name,
        where="data",
        severity=Severity.WARNING,
        title=(
            f"Processes 0 and {number} train on the same photos in {int(same.sum()):,} of "
            f"{len(same):,} batches."
        ),
        causes=(
            Cause(
                name="ranks-disagree",
                text="Every process draws from the whole data with the same seed.",
                fix="Give the DataLoader a DistributedSampler, and call set_epoch each epoch.",
                score=0.9,
                evidence="The inputs have the same fingerprints.",
            ),
        ),
        count=int(same.sum()),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        measured=float(same.mean()),
        threshold=SAME_DATA,
        plot=line_plot(mine.steps[i], {"same photos": same.astype(float)}),
    )


def _losses(history: History, other: History, number: int) -> Iterable[Finding]:
    mine, theirs = history.scalar("loss"), other.scalar("loss")
    steps, i, j = np.intersect1d(mine.steps, theirs.steps, return_indices=True)
    if len(steps) < LOSS_STEPS:
        return
    a, b = mine.values[i, 0][-LOSS_STEPS:], theirs.values[j, 0][-LOSS_STEPS:]
    usable = np.isfinite(a) & np.isfinite(b)
    if usable.sum() < LOSS_STEPS / 2:
        return
    low, high = sorted((float(np.median(a[usable])), float(np.median(b[usable]))))
    # Losses near 0 differ manifold without meaning anything.
    if low <= 0 or high < LOSS_RATIO * low or high < 0.1:
        return
    yield Finding(
        rule=RanksDisagree.name,
        where="loss",
        severity=Severity.WARNING,
        title=(
            f"The loss of processes 0 and {number} differs {high / low:.2g} times over the last "
            f"{LOSS_STEPS} steps ({a[usable].mean():.3g} and {b[usable].mean():.3g})."
        ),
        causes=(
            Cause(
                name="ranks-disagree",
                text="The processes train on data of different kinds, such as other classes.",
                fix="Shuffle the data before it is divided among the processes.",
                score=0.7,
                evidence="All processes have the same weights, so that the data must differ.",
            ),
        ),
        count=LOSS_STEPS,
        first_step=int(steps[-LOSS_STEPS]),
        last_step=int(steps[-1]),
        measured=high / low,
        threshold=LOSS_RATIO,
        plot=line_plot(steps[-LOSS_STEPS:], {"process 0": a, f"process {number}": b}),
    )
