"""Training sees only a part of the photos there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import batches, passes
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["DataPartlySeen"]

SEEN = 0.8
ROUNDS = 2.0
LEAST = 100


class DataPartlySeen(Rule):
    """A large part of the training photos never reaches the network: the loop breaks off early, a
    sampler covers only part, or a limit meant for a trial was left in.

    Condition: the number of training photos is known (`facts["train_examples"]`), examples enough
    for two rounds over them were drawn, these repeat (they are not augmented), and fewer than
    80 % of the photos are among them. Or, as a remark, fewer examples lie between all evaluations
    than 80 % of the photos, at least two evaluations being known: each epoch breaks off early.

    Source: ours; 39 of 101 read scripts break off after a share of the data.
    """

    name = "DataPartlySeen"

    def not_applicable(self, history: History) -> str:
        """The number of photos must be known."""
        if _total(history):
            return ""
        return "It is not known how many training photos there are."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the training data."""
        total = _total(history)
        marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT).together()
        if total < LEAST or not len(marks):
            return
        different = len(np.unique(marks))
        repeats = different < 0.9 * len(marks)
        if len(marks) >= ROUNDS * total and repeats and different < SEEN * total:
            yield self._finding(history, different, total, len(marks), Severity.WARNING)
            return
        each = _between(history)
        if each and each < SEEN * total:
            yield self._finding(history, each, total, each, Severity.INFO)

    def _finding(
        self, history: History, seen: int, total: int, drawn: int, severity: Severity
    ) -> Finding:
        never = severity == Severity.WARNING
        return Finding(
            rule=self.name,
            where="training data",
            severity=severity,
            title=(
                f"Only {seen:,} of {total:,} training photos ({seen / total:.0%}) were seen "
                f"{f'in {drawn:,} draws' if never else 'between two evaluations'}."
            ),
            causes=(
                Cause(
                    name="data-cut-short",
                    text="The loop over the batches breaks off before the end of the data.",
                    fix="Remove the early break, or the limit on batches, from the training loop.",
                    score=0.85 if never else 0.5,
                    evidence=f"{seen:,} different inputs; the data set holds {total:,}.",
                ),
            ),
            first_step=0,
            last_step=history.last_step,
            measured=seen / total,
            threshold=SEEN,
            plot={"bars": [seen, total - seen], "of": "photos seen, and not"},
        )


def _total(history: History) -> int:
    known = history.structure.facts.get("train_examples")
    return int(known) if isinstance(known, int | float) else 0


def _between(history: History) -> int:
    """The most examples between two evaluations; 0 with fewer than two of them."""
    ends = [one.step for one in passes(history)]
    if len(ends) < 2:
        return 0
    steps = np.array([b.step for b in batches(history)])
    sizes = np.array([len(b.fingerprints) for b in batches(history)])
    edges = [0, *ends]
    counts = [
        int(sizes[(steps >= first) & (steps < last)].sum())
        for first, last in itertools.pairwise(edges)
    ]
    return max(counts)
