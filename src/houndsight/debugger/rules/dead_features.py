"""What reaches the last layer does not depend on the photo."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["DeadFeatures"]

STEPS = 10
SHARE = 0.9
ZEROS = 0.999
FLAT = 1e-4
VANISHED = 1e-9


class DeadFeatures(Rule):
    """The features that the last layer gets are all zero or the same for every photo: the network
    can only learn how frequent each class is, and no gradient reaches the layers before.

    Condition, at nine of ten of the last ten or more recorded steps: a layer's output is 99.9 %
    zeros, or has no spread at all; or the sums of the logits differ between the photos of a batch
    by less than 1e-4 of the logits' size while the batch gets one and the same answer. Dropout,
    which makes zeros itself, is left out, and so are layers after the first such one.

    Source: ours; Lu et al., Dying ReLU and initialization (2020), for how it comes about.
    """

    name = "DeadFeatures"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the first layer that is dead or for the network's output."""
        dead = _first_dead(history)
        if dead:
            where, steps = dead
            what = f"The output of {where} is the same everywhere"
        else:
            steps = _same_answer(history)
            where, what = history.structure.head, "The network's output is the same for every photo"
        if len(steps) < STEPS:
            return
        yield Finding(
            rule=self.name,
            where=where,
            severity=Severity.WARNING,
            title=f"{what} at {len(steps):,} steps, since step {int(steps[0])}.",
            causes=_causes(history, int(steps[0])),
            count=len(steps),
            first_step=int(steps[0]),
            last_step=int(steps[-1]),
            measured=1.0,
            threshold=SHARE,
            plot=_plot(history, where),
        )


def _first_dead(history: History) -> tuple[str, np.ndarray] | None:
    zeros = history.series(Group.ACTIVATIONS, Statistic.ZEROS)
    spread = history.series(Group.ACTIVATIONS, Statistic.STD)
    for module in history.structure.in_order():
        if "Drop" in module.kind or module.kind in {"Softmax", "LogSoftmax", "Identity"}:
            continue
        parts = [
            (zeros.steps, zeros.of(module.name) >= ZEROS),
            (spread.steps, spread.of(module.name) <= VANISHED),
        ]
        for steps, held in parts:
            if len(held) >= STEPS and held[-STEPS:].mean() >= SHARE:
                return module.name, steps[_since(held) :][held[_since(held) :]]
    return None


def _since(held: np.ndarray) -> int:
    """Where the stretch begins that lasts, but for a tenth of the steps, to the end."""
    backwards = np.cumsum(held[::-1]) / np.arange(1, len(held) + 1)
    kept = np.flatnonzero((backwards >= SHARE) & held[::-1])
    return len(held) - 1 - int(kept[-1]) if len(kept) else len(held)


def _same_answer(history: History) -> np.ndarray:
    spread = history.series(Group.LOGITS, Statistic.ROW_SUM_STD)
    low = history.series(Group.LOGITS, Statistic.MINIMUM)
    high = history.series(Group.LOGITS, Statistic.MAXIMUM)
    answers = history.batches(Group.PREDICTIONS)
    length = len(spread)
    if not STEPS <= length == len(low) == len(high) == len(answers):
        return np.empty(0, np.int64)
    size = high.values[:, 0] - low.values[:, 0]
    same = np.array([len(a) > 1 and len(np.unique(a)) == 1 for a in answers.values])
    held = same & (spread.values[:, 0] < FLAT * size)
    if held[-STEPS:].mean() < SHARE:
        return np.empty(0, np.int64)
    return spread.steps[_since(held) :][held[_since(held) :]]


def _plot(history: History, where: str) -> dict[str, object]:
    spread = history.series(Group.ACTIVATIONS, Statistic.STD)
    if where not in spread.names:
        return {}
    return line_plot(spread.steps, {"standard deviation of the output": spread.of(where)})


def _causes(history: History, first: int) -> tuple[Cause, ...]:
    inputs = history.series(Group.INPUTS, Statistic.STD).values
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT).values
    copies = [len(m) > 1 and len(np.unique(m)) == 1 for m in marks]
    empty = (len(inputs) > 0 and not (inputs > 0).any()) or (bool(copies) and np.mean(copies) > 0.5)
    born = first <= 2
    causes = (
        Cause(
            name="constant-inputs",
            text="The inputs are empty or copies of each other already.",
            fix="Show a batch as pictures just before the network.",
            score=0.95 if empty else 0.05,
            evidence="The inputs of a batch do not differ." if empty else "",
        ),
        Cause(
            name="poor-initialisation",
            text="Weights or biases began so that no unit is ever active.",
            fix="Initialise weights by nn.init.kaiming_normal_ and biases with 0.",
            score=0.75 if born else 0.2,
            evidence=f"It holds since step {first}.",
        ),
        Cause(
            name="dead-units",
            text="A large step pushed all units of a layer below 0, where ReLU passes nothing.",
            fix="Lower the learning rate to a tenth, warm it up, or use LeakyReLU or GELU.",
            score=0.3 if born else 0.75,
            evidence=f"It holds since step {first}.",
        ),
    )
    return tuple(sorted(causes, key=lambda cause: -cause.score))
