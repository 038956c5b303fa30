"""A recording that can be changed, and what a conformance case is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Row, Statistic
from houndsight.debugger.structure import Structure

__all__ = ["STARTED", "Case", "Recording"]

STARTED = 1_750_000_000.0
Array = npt.NDArray[Any]
Change = Callable[[Array, Row], Any]


@dataclass(frozen=True)
class Recording:
    """Rows and structure, from which a history is made."""

    structure: Structure
    rows: tuple[Row, ...]

    def history(self, *, ended: bool = True, now: float | None = None) -> History:
        """The recording as rules see it; `now` is the time of the last row unless given."""
        last = max((row.time for row in self.rows), default=STARTED)
        return History(self.structure, self.rows, now=last if now is None else now, ended=ended)

    def changed(
        self,
        group: Group,
        statistic: Statistic | None,
        change: Change,
        *,
        names: Sequence[str] | None = None,
        mode: Mode | None = None,
        steps: range | None = None,
    ) -> Recording:
        """`change(values of the names, row)` gives the new values of the rows that fit."""

        def edit(row: Row) -> Row:
            if row.group != group or (statistic is not None and row.statistic != statistic):
                return row
            if (mode is not None and row.mode != mode) or (
                steps is not None and row.step not in steps
            ):
                return row
            if row.integers is not None:
                return replace(row, integers=np.asarray(change(row.integers, row), np.int64))
            values = row.values.copy()
            chosen = [i for i, name in enumerate(row.names) if names is None or name in names]
            if not row.names:
                return replace(row, values=np.asarray(change(values, row), np.float32))
            values[chosen] = np.asarray(change(values[chosen], row), np.float32)
            return replace(row, values=values)

        return replace(self, rows=tuple(edit(row) for row in self.rows))

    def without(self, group: Group, statistic: Statistic | None = None) -> Recording:
        """As if a group, or one statistic of it, had not been recorded."""
        kept = (
            row
            for row in self.rows
            if row.group != group or (statistic is not None and row.statistic != statistic)
        )
        return replace(self, rows=tuple(kept))

    def restructured(self, **fields: Any) -> Recording:
        """With other fields of its `Structure`."""
        return replace(self, structure=replace(self.structure, **fields))


@dataclass(frozen=True)
class Case:
    """A recording as a rule of some parameters sees it, for the conformance suite."""

    name: str
    recording: Recording
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What a person set."""
    waited: float = 0.0
    """Seconds since the last row."""
    ended: bool = True
    """Whether the training is over."""
    ranks: tuple[Recording, ...] = ()
    """The recordings of the other processes."""
    others: Mapping[str, Recording] = field(default_factory=dict)
    """Other runs, by the name that the parameters give them."""

    def history(self) -> History:
        """What the rule judges."""
        last = max((row.time for row in self.recording.rows), default=STARTED)
        ranks = [rank.history(ended=self.ended) for rank in self.ranks]
        return History(
            self.recording.structure,
            self.recording.rows,
            now=last + self.waited,
            ended=self.ended,
            ranks=ranks,
            others={name: other.history() for name, other in self.others.items()},
        )
