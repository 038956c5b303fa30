"""Part of the labels looks wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches, class_count, joined, passes, tail
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import known_scalar
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["LabelsNoisy"]

STEPS = 50
EXAMPLES = 300
LOW = 0.3
SHARES = (0.03, 0.45)
VALLEY = 0.5
EVALUATED = 100
HARDER = 0.2
KINDS = {"cross_entropy", "nll_loss"}


class LabelsNoisy(Rule):
    """Most photos have become easy while a group of others stays as hard as a coin thrown among
    all classes, or harder: what photos with wrong labels look like before they are memorised.

    Condition, a warning: training's answers are right 20 points and five standard errors less
    often than evaluation's, over the last quarter of the training and at the last two
    evaluations, although nothing makes training harder: photos come back unchanged and unmixed,
    dropout is at most 0.3, and BatchNorm gets eight photos or more. Labels of training must be
    wrong that evaluation's are not. Or, a remark: over the last quarter of the training batches,
    with at least 300 losses and 50 steps, the median loss is below 0.3 ln C, between 3 % and
    45 % of the losses are above ln C (the photo's label is found less likely than by guessing),
    and losses between 0.5 ln C and ln C are rarer than those above: there are two groups. Not
    with mixed photos or strong label smoothing, whose losses are high by design.

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
        """One finding, for the training labels."""
        if found := _harder_than_evaluation(history):
            yield found
            return
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


def _harder_than_evaluation(history: History) -> Finding | None:
    """Training answers that are right less often than others, with nothing to account for it."""
    trained = [batch for batch in batches(history) if batch.judged]
    asked = [one for one in passes(history) if one.judged and len(one.labels) >= EVALUATED][-2:]
    if len(asked) < 2 or not trained or trained[-1].step + 1 < STEPS or _made_harder(history):
        return None
    recent = joined(tail(trained, 0.25))
    right = min(one.accuracy for one in asked)
    error = math.sqrt(0.25 / len(recent.labels) + 0.25 / len(asked[-1].labels))
    if right - recent.accuracy < max(HARDER, 5 * error):
        return None
    wrong = 1 - recent.accuracy / right
    accuracy = history.scalar("accuracy")
    return Finding(
        rule=LabelsNoisy.name,
        where="labels",
        severity=Severity.WARNING,
        title=(
            f"About {wrong:.0%} of the training labels look wrong: the network is right for "
            f"{right:.0%} in evaluation and for only {recent.accuracy:.0%} of its training photos."
        ),
        causes=(
            Cause(
                name="labels-noisy",
                text="Many training photos carry the label of another class.",
                fix=(
                    "Show twenty training photos with their labels; look through those with the "
                    "highest losses first. Stopping early limits the harm."
                ),
                score=0.85,
                evidence="Training is not augmented, mixed or under strong dropout.",
                change={"patience": 3, "label_smoothing": 0.1},
            ),
        ),
        count=len(recent.labels),
        first_step=tail(trained, 0.25)[0].step,
        last_step=recent.step,
        measured=right - recent.accuracy,
        threshold=HARDER,
        plot=line_plot(accuracy.steps, {"training accuracy": accuracy.of("accuracy")}),
    )


def _made_harder(history: History) -> bool:
    """Whether training's photos, targets, dropout or batches account for a lower accuracy."""
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT).together()
    if not len(marks) or len(np.unique(marks)) > 0.5 * len(marks):
        return True
    if np.nansum(history.flag("targets_probabilities").values) > 0:
        return True
    modules = history.structure.modules
    if any("Dropout" in m.kind and float(m.settings.get("p") or 0) > 0.3 for m in modules):
        return True
    sizes = known_scalar(history, "batch_size")[1]
    norms = any("BatchNorm" in module.kind for module in modules)
    return norms and (not len(sizes) or float(np.median(sizes)) < 8)
