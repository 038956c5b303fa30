"""Part of the labels looks wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import batches, class_count, joined, tail
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["LabelsNoisy"]

STEPS = 50
EXAMPLES = 300
LOW = 0.3
SHARES = (0.03, 0.45)
VALLEY = 0.5
KINDS = {"cross_entropy", "nll_loss"}


class LabelsNoisy(Rule):
    """Most photos have become easy while a group of others stays as hard as a coin thrown among
    all classes, or harder: what photos with wrong labels look like before they are memorised.

    Condition, always a remark: over the last quarter of the training batches, with at least 300
    losses and 50 steps, the median loss is below 0.3 ln C, between 3 % and 45 % of the losses
    are above ln C (the photo's label is found less likely than by guessing), and losses between
    0.5 ln C and ln C are rarer than those above: there are two groups. Not with mixed photos or
    strong label smoothing, whose losses are high by design.

    Source: Arazo et al., Unsupervised label noise modeling and loss correction (ICML 2019):
    losses of clean and noisy labels form two groups.
    """

    name = "LabelsNoisy"

    def not_applicable(self, history: History) -> str:
        """Losses are compared with that of guessing, which cross-entropy has."""
        loss = history.structure.loss
        if loss is not None and loss.kind not in KINDS:
            return f"The scale of {loss.kind} is not that of cross-entropy."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One remark, for the training labels."""
        classes = class_count(history)
        loss = history.structure.loss
        smoothing = float(loss.settings.get("label_smoothing") or 0) if loss else 0.0
        parts = [batch for batch in batches(history) if len(batch.losses)]
        if classes < 2 or smoothing > 0.2 or not parts or parts[-1].step + 1 < STEPS:
            return
        recent = joined(tail(parts, 0.25))
        losses = recent.losses[np.isfinite(recent.losses)]
        level = math.log(classes)
        if len(losses) < EXAMPLES or not recent.judged or not 0 <= np.median(losses) < LOW * level:
            return
        wrong = float((losses > level).mean())
        between = float(((losses > VALLEY * level) & (losses <= level)).mean())
        if not SHARES[0] < wrong < SHARES[1] or between > wrong:
            return
        counts, edges = np.histogram(np.clip(losses / level, 0, 3), bins=30, range=(0, 3))
        yield Finding(
            rule=self.name,
            where="labels",
            severity=Severity.INFO,
            title=(
                f"About {wrong:.0%} of the labels look wrong: their loss stays above "
                f"{level:.2f}, that of guessing, while half of all are below "
                f"{np.median(losses):.2f}."
            ),
            causes=(
                Cause(
                    name="labels-noisy",
                    text="Some photos carry the label of another class.",
                    fix=(
                        "Look through the photos with the highest losses first; until then label "
                        "smoothing of 0.1 and stopping early limit the harm."
                    ),
                    score=0.6,
                    evidence=f"{int((losses > level).sum()):,} of {len(losses):,} losses.",
                    change={"label_smoothing": 0.1},
                ),
            ),
            count=int((losses > level).sum()),
            first_step=tail(parts, 0.25)[0].step,
            last_step=recent.step,
            measured=wrong,
            threshold=SHARES[0],
            plot={"histogram": counts.tolist(), "edges": (edges * level).round(4).tolist()},
        )
