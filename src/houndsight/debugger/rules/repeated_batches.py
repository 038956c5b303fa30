"""The same batches come again and again, or in an order that says what comes next."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import Examples, Integers, batches, class_count
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import whole_batches
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["RepeatedBatches"]

BATCHES = 10
LEAST_EPOCH = 3
MATCH = 0.98
SORTED = 0.5
LEAST_BATCH = 8


class RepeatedBatches(Rule):
    """Training goes through the same batches in the same order: a seed that is set again for each
    epoch or batch, a DataLoader that does not shuffle, an iterator that is made anew for every
    step. With photos sorted by class every batch pulls the network towards one class.

    Condition: (1) at least ten batches of eight examples or more hold, in the median, less than
    half the classes that a mixed batch of that size would, while all of them together are mixed.
    (2) 98 % of at least ten batches have the same fingerprints in the same order, although
    evaluation has seen more photos than one batch (else a remark, and with L-BFGS: all data may be
    one batch).
    (3) As a remark: the sequence of examples repeats itself with a period of at least three
    batches, over two periods.

    Source: ours; the count of classes in a mixed batch is the sum of 1 - (1 - p)^n over classes of
    share p in a batch of n.
    """

    name = "RepeatedBatches"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for classes that come in order, one for batches that repeat."""
        trained = batches(history)
        yield from self._sorted(history, [b for b in trained if len(b.labels) >= LEAST_BATCH])
        marked = [b for b in trained if len(b.fingerprints)]
        if len(marked) < BATCHES:
            return
        names = np.array([hash(b.fingerprints.tobytes()) for b in marked])
        values, counts = np.unique(names, return_counts=True)
        if counts.max() >= MATCH * len(names):
            held = names == values[counts.argmax()]
            yield self._one(
                history, [b for b, is_held in zip(marked, held, strict=True) if is_held]
            )
        elif (period := _period(names)) >= LEAST_EPOCH:
            yield self._epochs(history, marked, period)

    def _sorted(self, history: History, labelled: list[Examples]) -> Iterable[Finding]:
        if len(labelled) < BATCHES:
            return
        labels = np.concatenate([b.labels for b in labelled])
        labels = labels[labels >= 0]
        if not len(labels):
            return
        share = np.bincount(labels, minlength=class_count(history)) / len(labels)
        seen = np.array([len(np.unique(b.labels)) for b in labelled], float)
        mixed = np.array([(1 - (1 - share) ** len(b.labels)).sum() for b in labelled])
        ratio = float(np.median(seen / mixed))
        if ratio >= SORTED or np.median(mixed) < 2.5:
            return
        steps = np.array([b.step for b in labelled])
        yield Finding(
            rule=self.name,
            where="order",
            severity=Severity.WARNING,
            title=(
                f"Photos come sorted by class: a batch holds {np.median(seen):.0f} classes where "
                f"a mixed one would hold {np.median(mixed):.1f}."
            ),
            causes=(
                Cause(
                    name="batches-repeat",
                    text="The training data is not shuffled.",
                    fix="Set shuffle=True in the training's DataLoader.",
                    score=0.95,
                    evidence=f"{len(labelled):,} batches, {int((share > 0).sum())} classes in all.",
                    change={"shuffle": True},
                ),
            ),
            count=int((seen < SORTED * mixed).sum()),
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            measured=ratio,
            threshold=SORTED,
            plot=line_plot(steps, {"classes in the batch": seen, "if mixed": mixed}),
        )

    def _one(self, history: History, same: list[Examples]) -> Finding:
        asked = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT, Mode.EVAL).together()
        size = len(same[0].fingerprints)
        known = history.structure.facts.get("train_examples")
        more = len(np.unique(asked)) > size or (isinstance(known, int) and known > 2 * size)
        more = more and not whole_batches(history.structure)
        return Finding(
            rule=self.name,
            where="batches",
            severity=Severity.WARNING if more else Severity.INFO,
            title=f"The same batch of {size:,} examples was trained on {len(same):,} times.",
            causes=(
                Cause(
                    name="batches-repeat",
                    text="Every step takes the first batch of a new pass over the data.",
                    fix="Write `for batch in loader:` in place of `next(iter(loader))`.",
                    score=0.85 if more else 0.4,
                    evidence="All its inputs are the same, in the same order.",
                ),
            ),
            count=len(same),
            first_step=same[0].step,
            last_step=same[-1].step,
            measured=float(len(same)),
            threshold=float(BATCHES),
            plot=_course(history),
        )

    def _epochs(self, history: History, marked: list[Examples], period: int) -> Finding:
        times = len(marked) // period
        return Finding(
            rule=self.name,
            where="batches",
            severity=Severity.INFO,
            title=(
                f"The same {period:,} batches came {times} times in the same order, without "
                "shuffling or augmentation between."
            ),
            causes=(
                Cause(
                    name="batches-repeat",
                    text="The data is not shuffled, or a seed is set again for every epoch.",
                    fix="Set shuffle=True, and seed once, before the first epoch.",
                    score=0.8,
                    evidence="The inputs are the same, batch for batch.",
                    change={"shuffle": True},
                ),
            ),
            count=len(marked),
            first_step=marked[0].step,
            last_step=marked[-1].step,
            measured=float(period),
            threshold=float(LEAST_EPOCH),
            plot=_course(history),
        )


def _course(history: History) -> dict[str, object]:
    """Different examples so far, by step: flat where nothing new comes."""
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT)
    seen: set[int] = set()
    counts = []
    for values in marks.values:
        seen.update(values.tolist())
        counts.append(len(seen))
    return line_plot(marks.steps, {"different examples": np.array(counts, float)})


def _period(names: Integers) -> int:
    """Batches after which the sequence repeats itself, over two periods; 0 when it does not."""
    again = np.flatnonzero(names[1:] == names[0])
    for start in again[:5] + 1:
        rest = len(names) - start
        if rest >= start and float((names[start:] == names[:rest]).mean()) >= MATCH:
            return int(start)
    return 0
