"""Blocks of rows out of arrays, forwards and steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.blocks import Block, ExamplesBlock
from houndsight.debugger.hook.recording import Forward, Step
from houndsight.debugger.record import Group, Mode, Statistic

__all__ = ["AnyBlock", "block", "grouped", "places", "tables"]

Array = npt.NDArray[Any]
AnyBlock = Block | ExamplesBlock


def places(where: Sequence[Forward | Step]) -> dict[str, Any]:
    """Steps and times of these forwards or steps, as a block's fields."""
    return {
        "steps": np.array([w.step for w in where], np.int64),
        "forwards": np.array([w.number for w in where], np.int64),
        "times": np.array([w.time for w in where], np.float64),
    }


def block(
    mode: Mode,
    group: Group,
    statistics: tuple[Statistic, ...],
    names: tuple[str, ...],
    where: Sequence[Forward | Step],
    values: Array,
    *,
    exact: bool = True,
) -> Block:
    """One block; `values` is (forwards or steps, statistics, names)."""
    return Block(
        mode=mode,
        group=group,
        statistics=statistics,
        names=names,
        values=values,
        exact=exact,
        **places(where),
    )


def grouped(
    group: Group,
    statistics: tuple[Statistic, ...],
    found: Iterable[tuple[Step, tuple[str, ...], Array]],
    *,
    exact: bool = True,
) -> list[AnyBlock]:
    """Blocks of steps that have the same names; values are (statistics, names)."""
    groups: dict[tuple[str, ...], list[tuple[Step, Array]]] = defaultdict(list)
    for step, names, values in found:
        if names:
            groups[names].append((step, values))
    return [
        block(
            Mode.TRAIN,
            group,
            statistics,
            names,
            [s for s, _ in members],
            np.stack([v for _, v in members]),
            exact=exact,
        )
        for names, members in groups.items()
    ]


def tables(
    mode: Mode, group: Group, rows: Iterable[tuple[Any, Mapping[str, float]]]
) -> list[AnyBlock]:
    """Blocks of named single figures."""
    groups: dict[tuple[str, ...], list[tuple[Any, list[float]]]] = defaultdict(list)
    for where, figures in rows:
        groups[tuple(figures)].append((where, [*figures.values()]))
    return [
        block(
            mode,
            group,
            (Statistic.VALUE,),
            names,
            [w for w, _ in members],
            np.array([v for _, v in members], np.float32)[:, None],
        )
        for names, members in groups.items()
        if names
    ]
