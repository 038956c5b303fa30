"""What a rule sees of a training: the rows so far as series of numbers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.record import Group, Integers, Mode, Row, Statistic
from houndsight.debugger.structure import Structure

__all__ = ["Batches", "History", "Series"]

Floats = npt.NDArray[np.float64]
Key = tuple[Mode, Group, Statistic]


@dataclass(frozen=True)
class Series:
    """One statistic of a group over the steps, in order of step; a later row of a step wins."""

    steps: Integers
    """(n,) optimizer steps."""
    forwards: Integers
    """(n,) calls of the root module."""
    values: Floats
    """(n, names); NaN where a tensor was not there. Values of one name are `of(name)`."""
    names: tuple[str, ...]
    exact: npt.NDArray[np.bool_]
    """(n,)"""
    times: Floats
    """(n,) seconds since the epoch."""
    present: npt.NDArray[np.bool_]
    """(n, names) whether the tensor was there: a NaN that is present was measured."""

    def __len__(self) -> int:
        return len(self.steps)

    def of(self, name: str) -> Floats:
        """(n,) the values of one name; NaN throughout when there is no such name."""
        if name not in self.names:
            return np.full(len(self), np.nan)
        return np.asarray(self.values[:, self.names.index(name)])

    def last(self, count: int) -> Series:
        """The last `count` steps of it."""
        return self.at(slice(max(len(self) - count, 0), None))

    def between(self, first: int, last: int) -> Series:
        """Steps `first` to `last`, both included."""
        return self.at((self.steps >= first) & (self.steps <= last))

    def at(self, rows: Any) -> Series:
        """The chosen rows (a slice, a mask or indices)."""
        return Series(
            self.steps[rows],
            self.forwards[rows],
            self.values[rows],
            self.names,
            self.exact[rows],
            self.times[rows],
            self.present[rows],
        )

    def only(self, names: Sequence[str]) -> Series:
        """The columns of `names`, those that there are, in that order."""
        kept = tuple(name for name in names if name in self.names)
        columns = [self.names.index(name) for name in kept]
        return Series(
            self.steps,
            self.forwards,
            self.values[:, columns],
            kept,
            self.exact,
            self.times,
            self.present[:, columns],
        )


EMPTY = Series(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty((0, 0)),
    (),
    np.empty(0, bool),
    np.empty(0),
    np.empty((0, 0), bool),
)


@dataclass(frozen=True)
class Batches:
    """One value an example, a batch a row: labels, predictions, fingerprints, losses."""

    steps: Integers
    forwards: Integers
    values: tuple[npt.NDArray[Any], ...]
    """n arrays of the batches' lengths."""

    def __len__(self) -> int:
        return len(self.steps)

    def together(self) -> npt.NDArray[Any]:
        """All examples, one after the other."""
        return np.concatenate(self.values) if self.values else np.empty(0)


class History:
    """A training's rows so far, its structure and the clock.

    Rows may come late, twice, out of order, or not at all: a series is always in order of step
    (evaluation: of forward), and empty where nothing was recorded.
    """

    def __init__(
        self,
        structure: Structure,
        rows: Iterable[Row] = (),
        *,
        now: float | None = None,
        ended: bool = False,
        ranks: Sequence[History] = (),
        others: Mapping[str, History] | None = None,
    ) -> None:
        self.structure = structure
        self.ended = ended
        """Whether the training has ended."""
        self.ranks = tuple(ranks)
        """The histories of the other processes of a distributed training."""
        self.others = dict(others or {})
        """The histories of other runs, by the name or folder that a person gave them."""
        self._now = now
        self._newest = float("-inf")
        self._rows: dict[Key, list[Row]] = defaultdict(list)
        self._series: dict[Key, Series] = {}
        self._batches: dict[Key, Batches] = {}
        self.add(rows)

    @property
    def now(self) -> float:
        """Seconds since the epoch, by the clock that the rules live by."""
        return time.time() if self._now is None else self._now

    @property
    def last_step(self) -> int:
        """The newest optimizer step that is recorded; 0 before the first."""
        steps = self.scalar("loss").steps
        newest = [int(steps[-1])] if len(steps) else []
        norms = self.series(Group.GRADIENTS, Statistic.NORM).steps
        return max(newest + ([int(norms[-1])] if len(norms) else []), default=0)

    @property
    def last_time(self) -> float | None:
        """When the newest row was recorded, seconds since the epoch; None before the first."""
        return self._newest if self._newest > float("-inf") else None

    def at(self, now: float | None) -> None:
        """Set the clock: seconds since the epoch, or None for the machine's."""
        self._now = now

    def add(self, rows: Iterable[Row]) -> None:
        """Take in more rows."""
        for row in rows:
            key = (row.mode, row.group, row.statistic)
            self._rows[key].append(row)
            self._newest = max(self._newest, row.time)
            self._series.pop(key, None)
            self._batches.pop(key, None)

    def until(self, step: int) -> History:
        """The history as it was after optimizer step `step`."""
        kept = [row for rows in self._rows.values() for row in rows if row.step <= step]
        at = max((row.time for row in kept), default=0.0)
        ranks = [rank.until(step) for rank in self.ranks]
        return History(self.structure, kept, now=at, ranks=ranks, others=self.others)

    def series(self, group: Group, statistic: Statistic, mode: Mode = Mode.TRAIN) -> Series:
        """A statistic over the steps; empty when nothing is recorded."""
        key = (mode, group, statistic)
        if key not in self._series:
            self._series[key] = _series(self._rows.get(key, []), mode)
        return self._series[key]

    def batches(
        self, group: Group, statistic: Statistic = Statistic.VALUE, mode: Mode = Mode.TRAIN
    ) -> Batches:
        """The batches of a group that has one value an example."""
        key = (mode, group, statistic)
        if key not in self._batches:
            self._batches[key] = _batches(self._rows.get(key, []), mode)
        return self._batches[key]

    def scalar(self, name: str, mode: Mode = Mode.TRAIN) -> Series:
        """One of `SCALARS` as a series with one column, without the steps where it was unknown."""
        return self._single(Group.SCALARS, name, mode)

    def flag(self, name: str, mode: Mode = Mode.TRAIN) -> Series:
        """One of `FLAGS` as a series with one column, without the forwards where it was unknown."""
        return self._single(Group.FLAGS, name, mode)

    def _single(self, group: Group, name: str, mode: Mode) -> Series:
        # A loss that is NaN is a value; an unknown one is not in its row at all.
        rows = self._rows.get((mode, group, Statistic.VALUE), [])
        return _series([row for row in rows if name in row.names], mode).only([name])


def _in_order(rows: list[Row], mode: Mode) -> list[Row]:
    """By step (evaluation: by forward), the later of two rows for the same one."""
    training = mode == Mode.TRAIN
    latest = {
        ((row.step, row.forward) if training else (row.forward, row.step)): row for row in rows
    }
    return [latest[key] for key in sorted(latest)]


def _series(rows: list[Row], mode: Mode) -> Series:
    if not rows:
        return EMPTY
    ordered = _in_order(rows, mode)
    names = tuple(dict.fromkeys(name for row in ordered for name in row.names))
    values = np.full((len(ordered), len(names)), np.nan)
    present = np.zeros(values.shape, bool)
    places = {row.names: [names.index(n) for n in row.names] for row in ordered}
    for index, row in enumerate(ordered):
        values[index, places[row.names]] = row.values
        present[index, places[row.names]] = True
    return Series(
        np.array([row.step for row in ordered], np.int64),
        np.array([row.forward for row in ordered], np.int64),
        values,
        names,
        np.array([row.exact for row in ordered], bool),
        np.array([row.time for row in ordered], np.float64),
        present,
    )


def _batches(rows: list[Row], mode: Mode) -> Batches:
    ordered = _in_order(rows, mode)
    return Batches(
        np.array([row.step for row in ordered], np.int64),
        np.array([row.forward for row in ordered], np.int64),
        tuple(row.values if row.integers is None else row.integers for row in ordered),
    )
