"""Parameters in the optimizer that stand still."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from houndsight.debugger.history import History, Series
from houndsight.debugger.optimisation import fresh_share, loss_plot, weight_names
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.rules.standing_still import standing_still
from houndsight.findings import Finding, Severity
from houndsight.wording import plural

__all__ = ["ParametersNotUpdated"]

JUDGED_STEPS = 10
STILL = 0.95
EXAMPLES = 8


class ParametersNotUpdated(Rule):
    """Weights that are trainable and in the optimizer do not change, not by a single bit.

    Condition: a weight's update is exactly 0 at 95 % of the recorded steps, ten at least, and
    its length is the same at the first and last of them, though it is trainable, in the optimizer
    and able to have a gradient by the structure. It is an error when the head stands still or
    all weights do; a remark where the group's learning rate is 0 and the weights were trained
    before, which is a way to freeze them, and where a module was never called; else a warning.

    Source: SageMaker's UnchangedTensor, by structure and in exact figures; conditions ours.
    """

    name = "ParametersNotUpdated"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for each reason: rate 0, no gradient, a gradient of 0, lost in rounding."""
        updates = history.series(Group.UPDATES, Statistic.RATIO)
        updates = updates.only(weight_names(history.structure))
        still = _still(updates, history.series(Group.PARAMETERS, Statistic.NORM))
        reasons: dict[str, list[str]] = {}
        for name in still:
            reasons.setdefault(_reason(history, name), []).append(name)
        every = len(still) == len(updates.names)
        return [
            self._finding(history, reason, names, updates, every)
            for reason, names in reasons.items()
        ]

    def _finding(
        self, history: History, reason: str, names: Sequence[str], updates: Series, every: bool
    ) -> Finding:
        structure = history.structure
        head = any(p.module == structure.head for p in structure.parameters if p.name in names)
        severity = Severity.ERROR if head or every else Severity.WARNING
        if reason == "unused" or (
            reason == "rate" and not head and not fresh_share(history, names) > 0.5
        ):
            severity = Severity.INFO
        total = len(updates.names)
        return Finding(
            rule=self.name,
            where=names[0],
            severity=severity,
            title=(
                f"{plural(len(names), 'weight')} of {total} that the optimizer holds did not "
                f"change in {plural(len(updates), 'recorded step')}: {', '.join(names[:3])}"
                f"{' …' if len(names) > 3 else ''}."
            ),
            causes=standing_still(history, reason, names),
            count=len(names),
            first_step=int(updates.steps[0]),
            last_step=int(updates.steps[-1]),
            measured=len(names) / total,
            threshold=0.0,
            plot=loss_plot(history),
            examples=tuple(names[:EXAMPLES]),
        )


def _still(updates: Series, lengths: Series) -> list[str]:
    still = []
    for name in updates.names:
        ratios = updates.of(name)
        ratios = ratios[np.isfinite(ratios)]
        norms = lengths.of(name)
        norms = norms[np.isfinite(norms)]
        same = len(norms) == 0 or norms[0] == norms[-1]
        if len(ratios) >= JUDGED_STEPS and float((ratios == 0).mean()) >= STILL and same:
            still.append(name)
    return still


def _reason(history: History, name: str) -> str:
    parameter = history.structure.parameter(name)
    assert parameter is not None
    rate = _group_rate(history, parameter.group or 0)
    if rate == 0:
        return "rate"
    module = history.structure.module(parameter.module)
    if module is not None and module.order is None and history.structure.in_order():
        return "unused"
    gradient = history.series(Group.GRADIENTS, Statistic.NORM)
    if _thrown_away(history, gradient):
        return "thrown away"
    norms = gradient.of(name)
    if not len(norms):
        return "rounding"
    if not np.isfinite(norms).any():
        return "no gradient"
    return "zero gradient" if np.nanmax(norms) == 0 else "rounding"


def _thrown_away(history: History, gradient: Series) -> bool:
    """Whether outputs got a gradient at every step and no parameter kept one."""
    rows = history.scalar("gradient_rows").values
    reached = len(rows) >= JUDGED_STEPS and float((rows > 0).mean()) >= STILL
    norms = np.nan_to_num(gradient.values)
    return reached and float((norms == 0).all(axis=1).mean() if len(norms) else 1.0) >= STILL


def _group_rate(history: History, group: int) -> float:
    """The highest learning rate that a group had; NaN when unknown."""
    structure = history.structure
    groups = structure.optimizer.groups if structure.optimizer else ()
    sizes = [
        sum(math.prod(p.shape) for p in structure.parameters if p.group == index)
        for index in range(len(groups))
    ]
    main = int(np.argmax(sizes)) if sizes else 0
    order = [main, *(index for index in range(len(groups)) if index != main)]
    place = order.index(group) if group in order else 0
    rates = history.scalar("learning_rate" if place == 0 else f"learning_rate/{place}")
    known = rates.values[np.isfinite(rates.values)]
    if len(known):
        return float(known.max())
    rate = groups[group].get("lr") if group < len(groups) else None
    return float(rate) if rate is not None else math.nan
