"""Class weights of the loss by which one class counts for nearly everything."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import class_name, shares
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot
from houndsight.debugger.record import Group
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LossWeights"]

LABELS = 64
CLASSES = 3
MOST = 0.8
TIMES = 4.0


class LossWeights(Rule):
    """The loss's class weights make one class count for nearly everything: the network learns to
    name it always, and the others hardly matter.

    Condition: weight times number of labels of one class is four fifths of the sum over all
    classes (three or more), and at least four times its share of the labels.

    Source: ours. Weights by the inverse of the class counts, which PyTorch's documentation names,
    give every class the same sum.
    """

    name = "LossWeights"

    def not_applicable(self, history: History) -> str:
        """The loss must have weights."""
        loss = history.structure.loss
        if loss is not None and not isinstance(loss.settings.get("weight"), list | tuple):
            return "The loss has no class weights."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the class that outweighs the others."""
        loss = history.structure.loss
        given = loss.settings.get("weight") if loss else None
        labels = history.batches(Group.LABELS).together().astype(np.int64)
        if not isinstance(given, list | tuple) or len(labels) < LABELS or len(given) < CLASSES:
            return
        weights = np.asarray(given, np.float64)
        share = shares(labels, len(weights))
        mass = weights * share
        if not np.isfinite(mass).all() or mass.sum() <= 0:
            return
        mass /= mass.sum()
        most = int(mass.argmax())
        if mass[most] < MOST or mass[most] < TIMES * share[most]:
            return
        name = class_name(history, most)
        usual = float(np.median(np.delete(weights, most)))
        yield Finding(
            rule=self.name,
            where=name,
            severity=Severity.WARNING,
            title=(
                f"{mass[most]:.1%} of the loss is {name}'s, which {share[most]:.0%} of the labels "
                f"name: its weight is {number(weights[most])}, the others' {number(usual)}."
            ),
            causes=(
                Cause(
                    name="wrong-loss",
                    text="The loss's class weights are out of proportion.",
                    fix="Leave the weights out, or take total / (classes * count of the class).",
                    score=0.97,
                    evidence=f"Weight {number(weights[most])} beside {number(usual)}.",
                    change={"loss.weight": None},
                ),
            ),
            count=int((labels == most).sum()),
            first_step=0,
            last_step=history.last_step,
            measured=float(mass[most]),
            threshold=MOST,
            plot=loss_plot(history),
        )
