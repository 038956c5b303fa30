"""What the network was shown and what it answered, example by example, for rules on data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Statistic

__all__ = [
    "Examples",
    "above_guessing",
    "batches",
    "class_count",
    "class_name",
    "effective_classes",
    "guessing_accuracy",
    "joined",
    "passes",
    "share_awake",
    "shares",
    "step_flags",
    "tail",
    "warming_up",
]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SOURCES = (
    ("labels", Group.LABELS, Statistic.VALUE),
    ("predictions", Group.PREDICTIONS, Statistic.VALUE),
    ("losses", Group.LOSSES, Statistic.VALUE),
    ("fingerprints", Group.EXAMPLES, Statistic.FINGERPRINT),
)


def _none() -> Integers:
    return np.empty(0, np.int64)


def _nothing() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples of one batch or of several; an array is empty where it was not recorded."""

    step: int
    """Optimizer steps before the (last) batch."""
    forward: int
    labels: Integers = field(default_factory=_none)
    """(n,) class indices."""
    predictions: Integers = field(default_factory=_none)
    """(n,) class indices."""
    losses: Floats = field(default_factory=_nothing)
    """(n,)"""
    fingerprints: Integers = field(default_factory=_none)
    """(n,) equal for inputs with the same values at the places sampled."""

    @property
    def judged(self) -> bool:
        """Whether labels and predictions are known of the same examples."""
        return 0 < len(self.labels) == len(self.predictions)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(n,) where the prediction is the label; empty unless `judged`."""
        return self.labels == self.predictions if self.judged else np.empty(0, bool)

    @property
    def accuracy(self) -> float:
        """Share of right predictions; NaN when unknown."""
        return float(self.right.mean()) if self.judged else float("nan")


def batches(history: History, mode: Mode = Mode.TRAIN) -> list[Examples]:
    """Every batch of a mode, in order, with what is known of its examples."""
    found: dict[tuple[int, int], dict[str, npt.NDArray[Any]]] = {}
    for name, group, statistic in SOURCES:
        recorded = history.batches(group, statistic, mode)
        for step, forward, values in zip(
            recorded.steps.tolist(), recorded.forwards.tolist(), recorded.values, strict=True
        ):
            found.setdefault((step, forward), {})[name] = values
    training = mode == Mode.TRAIN
    ordered = sorted(found, key=lambda key: key if training else (key[1], key[0]))
    return [Examples(step=key[0], forward=key[1], **found[key]) for key in ordered]


def joined(parts: Sequence[Examples]) -> Examples:
    """Several batches as one; what one of them lacks is left out altogether."""
    if not parts:
        return Examples(step=0, forward=0)
    last = parts[-1]
    whole: dict[str, Any] = {}
    for name, _, _ in SOURCES:
        arrays = [getattr(part, name) for part in parts]
        whole[name] = np.concatenate(arrays) if all(len(a) for a in arrays) else _none()
    return Examples(step=last.step, forward=last.forward, **whole)


def passes(history: History, mode: Mode = Mode.EVAL) -> list[Examples]:
    """The evaluations so far: all batches between two optimizer steps are one."""
    by_step: dict[int, list[Examples]] = {}
    for batch in batches(history, mode):
        by_step.setdefault(batch.step, []).append(batch)
    return [joined(by_step[step]) for step in sorted(by_step)]


def tail(parts: Sequence[Examples], share: float, least: int = 1) -> list[Examples]:
    """The last `share` of the batches, `least` of them or more."""
    return list(parts[-max(round(len(parts) * share), least) :])


def class_count(history: History) -> int:
    """How many classes there are: as somebody said, else the loss's width, else as seen."""
    structure = history.structure
    if structure.classes:
        return structure.classes
    if structure.loss and structure.loss.outputs and structure.loss.outputs > 1:
        return structure.loss.outputs
    labels = history.batches(Group.LABELS).together()
    return int(labels.max()) + 1 if len(labels) else 0


def class_name(history: History, index: int) -> str:
    """`class 3`, or its name where that is known."""
    names = history.structure.facts.get("classes")
    if isinstance(names, Sequence) and 0 <= index < len(names):
        return f"class {names[index]}"
    return f"class {index}"


def shares(values: Integers, classes: int) -> Floats:
    """(classes,) share of each class among `values`; zeros when there are none."""
    inside = values[(values >= 0) & (values < classes)]
    return np.bincount(inside, minlength=classes)[:classes] / max(len(inside), 1)


def effective_classes(values: Integers, classes: int) -> float:
    """exp of the entropy of the shares: 1 when all are one class, `classes` when even."""
    share = shares(values, classes)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0


def guessing_accuracy(labels: Integers, classes: int) -> float:
    """What always naming the most frequent class gets right."""
    return float(shares(labels, classes).max()) if len(labels) and classes else float("nan")


def above_guessing(examples: Examples, classes: int) -> float:
    """By how many standard errors the accuracy is above `guessing_accuracy`; NaN if unknown."""
    if not examples.judged:
        return float("nan")
    guess = guessing_accuracy(examples.labels, classes)
    spread = np.sqrt(max(guess * (1 - guess), 1e-4) / len(examples.labels))
    return float((examples.accuracy - guess) / spread)


def warming_up(history: History) -> bool:
    """Whether the learning rate still rose in the last 40 % of the steps."""
    rates = history.scalar("learning_rate").values
    rates = rates[np.isfinite(rates)]
    if len(rates) < 2:
        return False
    then = float(rates[int(0.6 * (len(rates) - 1))])
    return float(rates.max()) > 1.05 * max(then, float(rates[: len(rates) // 2 + 1].max()))


def share_awake(history: History, name: str) -> float:
    """Mean of a flag of training forwards, such as `batchnorm_training`; 0 where unknown."""
    values = history.flag(name).values
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


def step_flags(history: History, name: str) -> tuple[Integers, Floats]:
    """Steps and the flag's value at the forward that led to each optimizer step.

    A script that evaluates without `no_grad` has other forwards with gradients between; the last
    one before a step is the one that trained.
    """
    flag = history.flag(name)
    if not len(flag):
        return _none(), _nothing()
    last = np.append(np.diff(flag.steps) != 0, True)
    stepped = history.series(Group.GRADIENTS, Statistic.NORM).steps
    if len(stepped):
        last &= np.isin(flag.steps, stepped)
    return flag.steps[last], flag.values[last, 0]
