"""Parameters that nobody updates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from houndsight.debugger.history import History
from houndsight.debugger.optimisation import fresh_share, loss_plot
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import ParameterRecord, Structure
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number, plural

__all__ = ["ParametersNotInOptimizer"]

EXAMPLES = 8


class ParametersNotInOptimizer(Rule):
    """Parameters that ask for gradients are not in the optimizer, so they never change.

    Condition, from the structure alone: a trainable parameter is in no group of the optimizer,
    under none of its names. Parameters of modules that no forward has called are left out. It
    is an error when no parameter of the network is in the optimizer (it was made for another
    network) and when the head is left out; a warning when layers between updated ones are, or
    when what is left out still has the lengths it was drawn with. A trained backbone that is
    left out as a whole, under a head that learns, is how many freeze it: a remark.

    Source: Humbatova et al., Taxonomy of Real Faults in Deep Learning Systems (ICSE 2020);
    conditions ours.
    """

    name = "ParametersNotInOptimizer"

    def not_applicable(self, history: History) -> str:
        """An optimizer has to be known."""
        return "" if history.structure.optimizer else "No optimizer is known of this training."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for all such parameters."""
        structure = history.structure
        used = {m.name for m in structure.modules if m.order is not None}
        held = {n for p in structure.parameters if p.group is not None for n in _names(p)}
        trainable = [p for p in structure.parameters if p.trainable]
        missing = [
            p
            for p in trainable
            if p.group is None
            and not held.intersection(_names(p))
            and (p.module in used or not used or structure.module(p.module) is None)
        ]
        if not missing:
            return []
        return [self._finding(history, missing, len(missing) == len(trainable) and not held)]

    def _finding(
        self, history: History, missing: Sequence[ParameterRecord], every: bool
    ) -> Finding:
        structure = history.structure
        head = any(p.module == structure.head for p in missing)
        untrained = fresh_share(history, [p.name for p in missing])
        between = _between(structure, missing)
        severity = Severity.INFO
        if every or head:
            severity = Severity.ERROR
        elif between or untrained > 0.5:
            severity = Severity.WARNING
        elements = sum(math.prod(p.shape) for p in missing)
        total = sum(math.prod(p.shape) for p in structure.parameters)
        where = "" if every else structure.head if head else missing[0].module or missing[0].name
        return Finding(
            rule=self.name,
            where=where,
            severity=severity,
            title=(
                f"{plural(len(missing), 'parameter')} ({elements / total:.0%} of the network's "
                f"values) ask for gradients but are in no group of the optimizer, so they "
                f"never change: {', '.join(p.name for p in missing[:3])}"
                f"{' …' if len(missing) > 3 else ''}."
            ),
            causes=_causes(history, missing, every, head, untrained),
            count=len(missing),
            first_step=0,
            last_step=history.last_step,
            measured=elements / total,
            threshold=0.0,
            plot=loss_plot(history),
            examples=tuple(p.name for p in missing[:EXAMPLES]),
        )


def _names(parameter: ParameterRecord) -> tuple[str, ...]:
    return (parameter.name, *parameter.shared_with)


def _between(structure: Structure, missing: Sequence[ParameterRecord]) -> bool:
    """Whether an updated parameter comes, in the order of the forward, before a missing one."""
    orders = {m.name: m.order for m in structure.modules if m.order is not None}
    lost = [orders[p.module] for p in missing if p.module in orders]
    held = [
        orders[p.module]
        for p in structure.parameters
        if p.group is not None and p.trainable and p.module in orders
    ]
    return bool(lost and held) and min(held) < max(lost)


def _causes(
    history: History,
    missing: Sequence[ParameterRecord],
    every: bool,
    head: bool,
    untrained: float,
) -> tuple[Cause, ...]:
    structure = history.structure
    gradients = history.series(Group.GRADIENTS, Statistic.NORM).only([p.name for p in missing])
    reached = gradients.values[np.isfinite(gradients.values)]
    evidence = (
        f"They get gradients (median length {number(float(np.median(reached)))}) at "
        f"{plural(len(gradients), 'recorded step')} without moving."
        if len(reached)
        else ""
    )
    if every:
        text = "The optimizer was made for another network, or before this one was rebuilt."
        fix = "Create the optimizer after the network is complete: optim.SGD(model.parameters(), …)"
    elif head:
        text = "The head was replaced after the optimizer had been created, or was not given to it."
        fix = f"Create the optimizer after {structure.head} is in place, with its parameters."
    else:
        text = "The optimizer was given some of the layers only."
        fix = (
            f"Give it model.parameters(), or set requires_grad=False for "
            f"{missing[0].module or missing[0].name} and the like if they are to stay as they are."
        )
    missed = Cause(
        name="parameters-not-in-optimizer",
        text=text,
        fix=fix,
        score=0.9,
        evidence=evidence,
        change={"optimizer.parameters": "all"},
    )
    if every or head:
        return (missed,)
    frozen = Cause(
        name="backbone-frozen",
        text="A backbone is meant to train but is left out of the optimizer.",
        fix="Give the optimizer the backbone's parameters too, at a tenth of the head's rate.",
        score=0.7 if untrained > 0.5 else 0.4,
        evidence=(
            ""
            if math.isnan(untrained)
            else f"{untrained:.0%} of what is left out still has the length it was drawn with."
        ),
        change={"optimizer.parameters": "all"},
    )
    return (missed, frozen)
