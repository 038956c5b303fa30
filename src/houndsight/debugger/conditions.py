"""Numerical helpers that rules share: windows, spans of a condition, progress of the loss.

All take and give plain arrays; NaN means unknown and is left out. Nothing here decides; the
thresholds are the rules' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.findings import State
from houndsight.wording import number

__all__ = [
    "Blocks",
    "Evaluation",
    "Held",
    "Progress",
    "blocks",
    "class_counts",
    "element_rms",
    "evaluations",
    "figure",
    "held",
    "lasting",
    "line_plot",
    "noise",
    "number",
    "progress",
    "robust_spread",
    "spans",
    "weights_in_order",
    "working_steps",
]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
PLOTTED = 200
"""Points of a curve that a plot keeps."""


# -- windows ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocks:
    """A series in blocks of consecutive recorded steps, a median of each; a rest is left out."""

    first: npt.NDArray[np.int64]
    """(b,) first step of each block."""
    last: npt.NDArray[np.int64]
    """(b,)"""
    medians: Floats
    """(b, names); NaN where a value of the block is NaN."""

    def __len__(self) -> int:
        return len(self.first)


def blocks(series: Series, size: int) -> Blocks:
    """`series` in blocks of `size` recorded steps: what held for a while, at little cost."""
    count = len(series) // size
    kept = count * size
    steps = series.steps[:kept].reshape(count, size)
    values = series.values[:kept].reshape(count, size, len(series.names))
    with np.errstate(all="ignore"):
        medians = np.median(values, axis=1) if values.size else np.empty((count, values.shape[2]))
    if not count:
        return Blocks(np.empty(0, np.int64), np.empty(0, np.int64), medians)
    return Blocks(steps[:, 0], steps[:, -1], medians)


def robust_spread(values: Floats) -> float:
    """Standard deviation by way of the median absolute deviation; NaN without finite values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan")
    return float(1.4826 * np.median(np.abs(known - np.median(known))))


def noise(values: Floats) -> float:
    """Standard deviation of a series around its own slow course, from successive differences."""
    known = values[np.isfinite(values)]
    if len(known) < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(known))) / np.sqrt(2))


def spans(mask: Mask) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def lasting(mask: Mask, least: int) -> Mask:
    """`mask` without runs of True shorter than `least`."""
    kept = np.zeros(len(mask), bool)
    for first, last in spans(mask):
        if last - first + 1 >= least:
            kept[first : last + 1] = True
    return kept


@dataclass(frozen=True)
class Held:
    """Over which steps a condition held."""

    first: int
    last: int
    count: int
    """At how many recorded steps."""
    open: bool
    """Whether it holds at the newest."""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a `Finding` that it gives."""
        state = State.OPEN if self.open else State.RESOLVED
        return {
            "first_step": self.first,
            "last_step": self.last,
            "count": self.count,
            "state": state,
        }


def held(
    steps: npt.NDArray[np.int64], mask: Mask, until: npt.NDArray[np.int64] | None = None
) -> Held | None:
    """When `mask` (n,) held at `steps` (n,), each lasting to `until` (n,); None: it never did."""
    places = np.flatnonzero(mask)
    if not len(places):
        return None
    last = (steps if until is None else until)[places[-1]]
    return Held(int(steps[places[0]]), int(last), len(places), bool(mask[-1]))


# -- figures and plots --------------------------------------------------------------------------


def figure(value: float) -> float | None:
    """A plain float for a finding; None where it is not finite, which JSON cannot say."""
    return float(value) if np.isfinite(value) else None


def line_plot(
    steps: npt.NDArray[Any],
    lines: Mapping[str, npt.NDArray[Any]],
    *,
    y_label: str = "",
    threshold: float | None = None,
    logarithmic: bool = False,
) -> dict[str, Any]:
    """What a plot of curves over the steps needs, thinned to `PLOTTED` points; its axis is named
    by its lines unless a label is given.

    `{"kind": "lines", "steps": [...], "lines": {name: [...]}, "y_label", "threshold",
    "logarithmic"}`; unknown values are None.
    """
    places = np.unique(np.linspace(0, len(steps) - 1, min(PLOTTED, len(steps))).astype(int))
    if not len(steps):
        places = np.empty(0, int)
    return {
        "kind": "lines",
        "steps": [int(step) for step in np.asarray(steps)[places]],
        "lines": {k: [figure(v) for v in np.asarray(c)[places]] for k, c in lines.items()},
        "y_label": y_label or " and ".join(lines),
        "threshold": threshold,
        "logarithmic": logarithmic,
    }


# -- what several rules look at -----------------------------------------------------------------


def weights_in_order(history: History) -> tuple[str, ...]:
    """Learnable weights with two axes or more, in the order in which their modules are called."""
    places = {module.name: place for place, module in enumerate(history.structure.in_order())}
    weights = [p for p in history.structure.learnable() if len(p.shape) >= 2]
    return tuple(p.name for p in sorted(weights, key=lambda p: places.get(p.module, len(places))))


def element_rms(history: History, group: Group, names: Sequence[str]) -> Series:
    """Root mean square of an element of each tensor: its length over the root of its size."""
    series = history.series(group, Statistic.NORM).only(names)
    records = {p.name: p for p in history.structure.parameters}
    sizes = np.array([max(np.prod(records[name].shape), 1) for name in series.names], float)
    return Series(
        series.steps,
        series.forwards,
        series.values / np.sqrt(sizes) if len(series.names) else series.values,
        series.names,
        series.exact,
        series.times,
        series.present,
    )


def working_steps(history: History, steps: npt.NDArray[np.int64]) -> Mask:
    """(n,) whether the learning rate of each step is at least a tenth of its largest so far.

    Leaves out warm-up and the tail of a decay; where no learning rate is known, all count.
    """
    rates = history.scalar("learning_rate")
    known = np.isfinite(rates.of("learning_rate"))
    if not known.any():
        return np.ones(len(steps), bool)
    at, rate = rates.steps[known], rates.of("learning_rate")[known]
    of_step = rate[np.clip(np.searchsorted(at, steps, side="right") - 1, 0, len(at) - 1)]
    return np.asarray((of_step > 0) & (of_step >= 0.1 * rate.max()))


@dataclass(frozen=True)
class Progress:
    """What the training loss has done since the first steps."""

    start: float
    """Median of the first steps."""
    recent: float
    """Mean of the newest ones, their outliers cut."""
    error: float
    """Standard error of the difference of the two."""
    steps: int
    """How many steps it is judged by, warm-up left out."""
    baseline: float
    """ln(classes) for cross-entropy, else the start: what a network that knows nothing gets."""

    @property
    def fallen(self) -> float:
        """Share of the start by which the loss has fallen; negative where it rose."""
        return (self.start - self.recent) / max(abs(self.start), 1e-12)

    @property
    def surely(self) -> bool:
        """Whether it has fallen by more than chance and by a tenth."""
        return self.fallen > 0.1 and self.start - self.recent > 3 * self.error

    @property
    def little(self) -> bool:
        """Whether it is sure that it has fallen by less than a twentieth, or rose."""
        return self.start - self.recent + 2 * self.error < 0.05 * abs(self.start)


def progress(history: History, *, least: int = 30) -> Progress | None:
    """How the training loss did; None before `least` steps beyond the warm-up.

    Both ends are means of a tenth of the steps, at least ten, with values beyond five spreads
    cut back to them, so that single batches decide nothing.
    """
    series = history.scalar("loss")
    kept = np.isfinite(series.of("loss"))
    steps, loss = series.steps[kept], series.of("loss")[kept]
    working = working_steps(history, steps)
    # The tail of a decay belongs to the judged steps: only what comes before work does not.
    begin = int(np.argmax(working)) if working.any() else len(steps)
    loss = loss[begin:]
    if len(loss) < least:
        return None
    window = max(10, len(loss) // 10)
    first, last = _cut(loss[:window]), _cut(loss[-window:])
    error = float(np.sqrt((first.var() + last.var()) / window))
    return Progress(
        float(first.mean()), float(last.mean()), error, len(loss), _chance(history, first)
    )


def _cut(values: Floats) -> Floats:
    centre, reach = np.median(values), 5 * max(robust_spread(values), 1e-12)
    return np.clip(values, centre - reach, centre + reach)


def _chance(history: History, first: Floats) -> float:
    loss, classes = history.structure.loss, history.structure.classes
    if loss is not None and loss.kind == "cross_entropy" and (classes or loss.outputs):
        return float(np.log(classes or loss.outputs or 1))
    return float(first.mean())


@dataclass(frozen=True)
class Evaluation:
    """One pass over held-out examples: all forwards without gradients between two steps."""

    step: int
    loss: float
    error: float
    """Standard error of the loss; NaN where it cannot be told."""
    accuracy: float
    examples: int

    @property
    def accuracy_error(self) -> float:
        """Standard error of the accuracy, by the binomial distribution with one success added."""
        right = min(max(self.accuracy, 0.0), 1.0) * self.examples
        share = (right + 1) / (self.examples + 2)
        return float(np.sqrt(share * (1 - share) / max(self.examples, 1)))


def evaluations(history: History) -> list[Evaluation]:
    """The evaluations in order of step, weighted by batch size."""
    loss = history.scalar("loss", Mode.EVAL)
    accuracy, size = history.scalar("accuracy", Mode.EVAL), history.scalar("batch_size", Mode.EVAL)
    sizes = dict(zip(size.forwards.tolist(), size.of("batch_size").tolist(), strict=True))
    rights = dict(zip(accuracy.forwards.tolist(), accuracy.of("accuracy").tolist(), strict=True))
    result = []
    for step in np.unique(loss.steps):
        rows = loss.steps == step
        forwards, losses = loss.forwards[rows].tolist(), loss.of("loss")[rows]
        weights = np.array([sizes.get(f, 1.0) for f in forwards])
        weights = np.where(np.isfinite(weights) & (weights >= 1) & (weights < 1e9), weights, 1.0)
        right = np.array([rights.get(f, np.nan) for f in forwards])
        mean = float(np.average(losses, weights=weights))
        error = float(losses.std(ddof=1) / np.sqrt(len(losses))) if len(losses) > 1 else np.nan
        hits = float(np.average(right, weights=weights))
        result.append(Evaluation(int(step), mean, error, hits, int(weights.sum())))
    return result


def class_counts(values: npt.NDArray[Any], classes: int | None) -> npt.NDArray[np.int64]:
    """(classes,) how often each class index occurs; negative ones (ignored labels) left out."""
    known = values[values >= 0].astype(np.int64)
    return np.bincount(known, minlength=classes or 0)
