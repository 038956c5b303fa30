"""Many rows at once, as arrays: how the hook hands its figures to the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.record import Group, Mode, Row, Statistic

__all__ = ["Block", "ExamplesBlock", "block_of"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Statistics of the same tensors at n forwards or steps: n * statistics rows."""

    mode: Mode
    group: Group
    statistics: tuple[Statistic, ...]
    names: tuple[str, ...]
    steps: Array
    """(n,) whole numbers."""
    forwards: Array
    """(n,) whole numbers."""
    times: Array
    """(n,) seconds since the epoch."""
    values: Array
    """(n, statistics, names)"""
    exact: bool = True

    def __len__(self) -> int:
        return len(self.steps) * len(self.statistics)


@dataclass(frozen=True, kw_only=True)
class ExamplesBlock:
    """One statistic with a value an example, of n batches: n rows."""

    mode: Mode
    group: Group
    statistic: Statistic
    steps: Array
    forwards: Array
    times: Array
    values: tuple[Array, ...]
    """n arrays (examples,), of floats or, where `integral`, of whole numbers."""
    integral: bool = False
    names: tuple[str, ...] = ()
    exact: bool = True

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """The one statistic."""
        return (self.statistic,)


def block_of(row: Row) -> Block | ExamplesBlock:
    """A block with this one row."""
    where: dict[str, Any] = {
        "steps": np.array([row.step], np.int64),
        "forwards": np.array([row.forward], np.int64),
        "times": np.array([row.time], np.float64),
    }
    if row.names and row.integers is None and len(row.names) == len(row.values):
        return Block(
            mode=row.mode,
            group=row.group,
            statistics=(row.statistic,),
            names=row.names,
            values=np.asarray(row.values, np.float32).reshape(1, 1, -1),
            exact=row.exact,
            **where,
        )
    return ExamplesBlock(
        mode=row.mode,
        group=row.group,
        statistic=row.statistic,
        values=(row.values if row.integers is None else row.integers,),
        integral=row.integers is not None,
        names=row.names,
        exact=row.exact,
        **where,
    )
