"""The network sees the same thing again and again, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches
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
HANDFUL = 32
EXAMPLES, DIFFERENT = 200, 20
TENTH, TIMES = 0.1, 10
SPARSE = 0.4


class ConstantInputs(Rule):
    """Every pixel has the same value, or the photos of a batch are copies of each other, so that
    there is nothing to tell classes apart by: a reader that returns an empty array, an index that
    is not used, a buffer that is overwritten while the batch is put together.

    Condition: in nine of ten batches, at least three, the standard deviation of every channel is
    below a millionth of the values' size; or, in batches of four and more, under a tenth of the
    examples (or only one) are distinct by fingerprint; or one and the same photo makes up a tenth
    of 200 examples and more, ten times as often as the next (what a reader gives in place of
    photos that it cannot read), unless it is all there is of its class, which is drawn more often,
    or most of every photo is one colour, so that photos are alike wherever one looks. A single
    channel that is constant is a remark.

    Source: ours.
    """

    name = "ConstantInputs"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for flat inputs, one for copies, one for a photo in place of many."""
        yield from self._flat(history)
        yield from self._copies(history)
        yield from self._one_photo(history)

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
        if _sparse(history):
            return
        large = sizes >= LEAST_BATCH
        if large.sum() < BATCHES:
            return
        copies = large & ((distinct == 1) | (distinct < DISTINCT * sizes))
        if copies.sum() < SHARE * large.sum():
            return
        total = len(np.unique(marks.together()))
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
                    name="small-data" if 1 < total < HANDFUL else "constant-inputs",
                    text="A sampler or an index draws the same few photos again and again."
                    if 1 < total < HANDFUL
                    else "The data set returns the same photo for every index.",
                    fix="Check that a sampler has a weight for every photo (not for every class), "
                    "that __getitem__ uses its index, and that it returns a new array each time.",
                    score=0.9,
                    evidence=f"{total:,} different examples in {int(sizes.sum()):,}.",
                    change={"examples": "all"} if 1 < total < HANDFUL else {},
                ),
            ),
            count=int(copies.sum()),
            first_step=int(marks.steps[copies][0]),
            last_step=int(marks.steps[copies][-1]),
            measured=float((distinct[copies] / sizes[copies]).mean()),
            threshold=DISTINCT,
            plot=line_plot(marks.steps, {"different examples": distinct.astype(float)}),
        )

    def _one_photo(self, history: History) -> Iterable[Finding]:
        marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT)
        values, counts = np.unique(marks.together(), return_counts=True)
        if len(values) < DIFFERENT or counts.sum() < EXAMPLES:
            return
        most = int(counts.argmax())
        share, next_most = counts[most] / counts.sum(), int(np.delete(counts, most).max())
        if share < TENTH or counts[most] < TIMES * next_most:
            return
        if _sparse(history) or _all_of_its_class(history, int(values[most])):
            return
        shown = np.array([float((batch == values[most]).mean()) for batch in marks.values])
        yield Finding(
            rule=self.name,
            where="one photo",
            severity=Severity.ERROR,
            title=(
                f"One and the same photo stands in for {share:.0%} of {int(counts.sum()):,} "
                f"training examples; no other came more than {next_most:,} times."
            ),
            causes=(
                Cause(
                    name="constant-inputs",
                    text="Photos that cannot be read are replaced by an empty one, or many entries "
                    "lead to the same file.",
                    fix="Let the data set raise an error where a photo cannot be opened, and leave "
                    "such photos out of the list.",
                    score=0.95,
                    evidence=f"{int(counts[most]):,} examples with the same fingerprint.",
                    change={"inputs.blank": "left out"},
                ),
            ),
            count=int(counts[most]),
            first_step=int(marks.steps[shown > 0][0]),
            last_step=int(marks.steps[shown > 0][-1]),
            measured=float(share),
            threshold=TENTH,
            plot=line_plot(marks.steps, {"share of a batch": shown}),
        )


def _sparse(history: History) -> bool:
    """Whether nearly all values stand at one end of their range, as of thin lines on a ground.

    A fingerprint looks at a few places of a photo, where such photos show nothing but ground.
    """
    mean, std, low, high = (
        history.series(Group.INPUTS, statistic)
        for statistic in (Statistic.MEAN, Statistic.STD, Statistic.MINIMUM, Statistic.MAXIMUM)
    )
    if not len(std) == len(mean) == len(low) == len(high) > 0:
        return False
    middle = np.minimum(mean.values - low.values, high.values - mean.values)
    inside = np.median(middle, axis=0) < SPARSE * np.median(std.values, axis=0)
    return bool(inside.all())


def _all_of_its_class(history: History, mark: int) -> bool:
    """Whether a photo has one label, and that label hardly any other photo."""
    labelled = [b for b in batches(history) if len(b.labels) == len(b.fingerprints) > 0]
    labels = np.concatenate([b.labels for b in labelled] or [np.empty(0, np.int64)])
    marks = np.concatenate([b.fingerprints for b in labelled] or [np.empty(0, np.int64)])
    own = np.unique(labels[marks == mark])
    return len(own) == 1 and float((marks[labels == own[0]] == mark).mean()) > SHARE
