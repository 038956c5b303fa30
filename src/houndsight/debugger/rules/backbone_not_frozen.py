"""A pretrained backbone that is trained away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    fresh_share,
    loss_plot,
    peak_rate,
    rounded,
    weight_ratios,
)
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import ParameterRecord
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number, plural

__all__ = ["BackboneNotFrozen"]

EARLY_STEPS = 20
LEAST_STEPS = 10
PATH = 1.0
SOFT_PATH = 0.2
PRETRAINED = 0.5
EXAMPLES = 8


class BackboneNotFrozen(Rule):
    """A pretrained backbone is changed so fast that what it had learnt is lost.

    Condition: either an attribute like requires_grad is misspelt on trainable parameters
    (require_grad = False freezes nothing), which is certain; or the backbone was trained before
    (less than half of its weights have the length of a random draw) and the head was not, and
    within the first 20 steps the backbone's median weight moved by its own length in all. Both
    are warnings. Fine-tuning at a small rate is silent.

    Source: Kumar et al., Fine-Tuning can Distort Pretrained Features (ICLR 2022); 24 of 101
    scripts of one course did not freeze what they meant to; limits ours.
    """

    name = "BackboneNotFrozen"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the misspelling and one for the backbone."""
        parameters = history.structure.parameters
        misspelt = [p for p in parameters if p.misspelt and p.trainable]
        if misspelt:
            return [self._misspelt(history, misspelt)]
        backbone = [p for p in parameters if p.module != history.structure.head]
        head = [p for p in parameters if p.module == history.structure.head]
        changed = [p.name for p in backbone if p.trainable and p.group is not None]
        if not head or not changed:
            return []
        old = fresh_share(history, [p.name for p in backbone])
        new = fresh_share(history, [p.name for p in head])
        if not (old < PRETRAINED and new > PRETRAINED):
            return []
        return self._moved(history, changed)

    def _misspelt(self, history: History, misspelt: Sequence[ParameterRecord]) -> Finding:
        attribute = misspelt[0].misspelt
        return Finding(
            rule=self.name,
            where=misspelt[0].module,
            severity=Severity.WARNING,
            title=(
                f"{attribute} was set on {plural(len(misspelt), 'parameter')}, which freezes "
                f"nothing: the attribute is called requires_grad, and they train."
            ),
            causes=(
                Cause(
                    name="backbone-not-frozen",
                    text=f"requires_grad is misspelt as {attribute.partition('=')[0]}.",
                    fix="Write parameter.requires_grad = False, or module.requires_grad_(False).",
                    score=0.95,
                    evidence=f"{misspelt[0].name} has {attribute} and requires_grad=True.",
                    change={"backbone.requires_grad": False},
                ),
            ),
            count=len(misspelt),
            first_step=0,
            last_step=history.last_step,
            measured=float(len(misspelt)),
            threshold=0.0,
            plot=loss_plot(history),
            examples=tuple(p.name for p in misspelt[:EXAMPLES]),
        )

    def _moved(self, history: History, changed: Sequence[str]) -> list[Finding]:
        series = weight_ratios(history)[0].only(changed)
        series = series.at(np.isfinite(series.values).any(axis=1))
        early = series.at(series.steps < EARLY_STEPS)
        if len(early) < LEAST_STEPS:
            return []
        middle = np.nanmedian(early.values, axis=1)
        # Steps that were not recorded moved the weights too.
        path = float(middle.mean()) * EARLY_STEPS
        if path < PATH:
            return []
        rate = peak_rate(history)
        better = rounded(rate * SOFT_PATH / path)
        return [
            Finding(
                rule=self.name,
                where=history.structure.parameters[0].module,
                severity=Severity.WARNING,
                title=(
                    f"The pretrained backbone moved by {number(path)} times its weights' length "
                    f"in the first {EARLY_STEPS} steps, so it keeps little of what it had learnt."
                ),
                causes=(
                    Cause(
                        name="backbone-not-frozen",
                        text="The backbone is trained at the rate of a new head.",
                        fix=(
                            f"Freeze the backbone (requires_grad_(False)), or give it a rate of "
                            f"{number(better)} (an estimate) in a group of its own."
                        ),
                        score=0.7,
                        evidence=(
                            f"Its weights are not those of a random draw, and each step changed "
                            f"them by {number(float(middle.mean()))} of their length."
                        ),
                        change={"backbone.learning_rate": better},
                    ),
                    Cause(
                        name="learning-rate-too-high",
                        text=f"The learning rate of {number(rate)} is too high for all of it.",
                        fix=f"Lower it to {number(better)} for a start.",
                        score=0.6,
                        evidence=f"Updates reached {number(float(middle.max()))} of the weights.",
                        change={"learning_rate": better},
                    ),
                ),
                count=len(early),
                first_step=int(early.steps[0]),
                last_step=int(early.steps[-1]),
                measured=path,
                threshold=PATH,
                examples=tuple(changed[:EXAMPLES]),
                plot=line_plot(early.steps, {"update / weight": middle}, y_label="update / weight"),
            )
        ]
