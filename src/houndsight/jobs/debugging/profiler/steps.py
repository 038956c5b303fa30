"""When the training's steps were, from the hook's log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.tensor_log import TensorLog
from houndsight.errors import RunError

__all__ = ["Steps", "read_losses", "read_steps"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """Times of one model's training steps and evaluations, seconds since the epoch, in order."""

    train: Floats
    """(n,) when each optimizer step was taken."""
    evaluation: Floats
    """(m,) when each evaluating call of the model began."""

    @property
    def durations(self) -> Floats:
        """(n - 1,) seconds from step to step; where an evaluation lies between, left out."""
        gaps: Floats = np.diff(self.train)
        if not len(self.evaluation) or not len(gaps):
            return gaps
        places = np.searchsorted(self.evaluation, self.train)
        alone: Floats = gaps[np.diff(places) == 0]
        return alone

    @property
    def begin(self) -> float | None:
        """When the first thing was done; None when nothing was."""
        every = [*self.train[:1], *self.evaluation[:1]]
        return float(min(every)) if every else None

    @property
    def end(self) -> float | None:
        """When the last thing was done."""
        every = [*self.train[-1:], *self.evaluation[-1:]]
        return float(max(every)) if every else None


def read_steps(run_folder: Path) -> Steps:
    """Those in a run folder; none where there is no log."""
    empty = np.empty(0)
    try:
        log = TensorLog(run_folder)
        times: dict[Mode, dict[int, float]] = {mode: {} for mode in Mode}
        for row in log.rows(groups=[Group.SCALARS, Group.FLAGS], statistics=[Statistic.VALUE]):
            training = row.mode == Mode.TRAIN
            if training == (row.group == Group.SCALARS) and row.names != ("memory_bytes",):
                times[row.mode][row.step if training else row.forward] = row.time
    except (RunError, OSError):
        return Steps(empty, empty)
    evaluation = [*times[Mode.EVAL].values(), *times[Mode.PREDICT].values()]
    return Steps(np.array(sorted(times[Mode.TRAIN].values())), np.array(sorted(evaluation)))


def read_losses(run_folder: Path) -> dict[str, list[tuple[float, float]]]:
    """The loss by step: of each training step, and the mean of the evaluations at a step."""
    train: dict[int, float] = {}
    evaluated: dict[int, list[float]] = {}
    try:
        for row in TensorLog(run_folder).rows(groups=[Group.SCALARS], names=["loss"]):
            value = float(row.values[0])
            if not np.isfinite(value):
                continue
            if row.mode == Mode.TRAIN:
                train[row.step] = value
            else:
                evaluated.setdefault(row.step, []).append(value)
    except (RunError, OSError):
        return {}
    found = {"training": sorted((float(s), v) for s, v in train.items())}
    if evaluated:
        found["evaluation"] = sorted((float(s), float(np.mean(v))) for s, v in evaluated.items())
    return found
