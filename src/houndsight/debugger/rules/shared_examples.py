"""Evaluation sees photos that were trained on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import Integers, batches
from houndsight.debugger.history import History
from houndsight.debugger.record import Mode
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["SharedExamples"]

LEAST, FEW = 0.02, 5
WHOLE = 0.98
PART_OF_TRAINING = 0.3


class SharedExamples(Rule):
    """Photos of the evaluation were also trained on, so that the measured accuracy is partly that
    of memory.

    Condition: of the different examples evaluated, 2 % or more (at least five) have the same
    fingerprint as one of training: the same values at the places sampled. Fewer are a remark,
    since they move the accuracy by less than chance does.
    Batches that are wholly of training photos are taken for a deliberate look at the training
    accuracy when there are other batches too, and they cover 30 % of the training photos;
    without others everything that is evaluated was trained on. Photos that were augmented in
    training have other fingerprints: the rule cannot see those.

    Source: ours; a duplicate between splits that changes a pixel is the data check's to find.
    """

    name = "SharedExamples"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for evaluation as a whole."""
        trained = [b.fingerprints for b in batches(history) if len(b.fingerprints)]
        asked = [b for b in batches(history, Mode.EVAL) if len(b.fingerprints)]
        if not trained or not asked:
            return
        known = np.unique(np.concatenate(trained))
        overlap = [float(np.isin(b.fingerprints, known).mean()) for b in asked]
        wholly = [b.fingerprints for b, share in zip(asked, overlap, strict=True) if share >= WHOLE]
        rest = [b.fingerprints for b, share in zip(asked, overlap, strict=True) if share < WHOLE]
        inspected = np.unique(np.concatenate(wholly)) if wholly else known[:0]
        if rest and len(inspected) >= PART_OF_TRAINING * len(known):
            examples = np.unique(np.concatenate(rest))
        else:
            examples = np.unique(np.concatenate([b.fingerprints for b in asked]))
        shared = np.intersect1d(examples, known)
        if len(shared):
            steps = np.array([b.step for b, share in zip(asked, overlap, strict=True) if share > 0])
            yield self._finding(steps, len(shared), len(examples))

    def _finding(self, steps: Integers, shared: int, examples: int) -> Finding:
        share = shared / examples
        everything = share >= WHOLE
        grave = share >= LEAST and shared >= FEW
        return Finding(
            rule=self.name,
            where="evaluation",
            severity=Severity.INFO
            if not grave
            else Severity.WARNING
            if everything
            else Severity.ERROR,
            title=(
                f"{plural(shared, 'photo')} of {examples:,} in evaluation ({share:.1%}) "
                f"{'was' if shared == 1 else 'were'} also trained on."
            ),
            causes=(
                Cause(
                    name="leakage",
                    text=(
                        "Evaluation uses the training photos."
                        if everything
                        else "The split was drawn more than once, or photos were copied before it."
                    ),
                    fix=(
                        "Hold photos out of training and evaluate on those."
                        if everything
                        else "Draw the split once, with a fixed seed, after removing duplicates, "
                        "and evaluate again from fresh weights."
                    ),
                    score=0.9 if grave else 0.4,
                    evidence=f"{shared:,} fingerprints are in both.",
                ),
            ),
            count=shared,
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            measured=share,
            threshold=LEAST,
            plot={"bars": [shared, examples - shared], "of": "photos trained on, and not"},
        )
