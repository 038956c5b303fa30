"""What the inputs look like, channel by channel, for rules on preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Statistic

__all__ = ["InputFigures", "example_count", "input_figures", "no_images"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InputFigures:
    """Of the inputs of a mode, over all batches recorded; one value a channel."""

    mean: Floats
    std: Floats
    """Over all pixels of all batches."""
    low: Floats
    high: Floats
    error: Floats
    """Standard error of `mean`, from how it differs between batches."""
    batches: int
    first_step: int
    last_step: int

    @property
    def size(self) -> float:
        """Root of the mean square of all values."""
        return float(np.sqrt((self.mean**2 + self.std**2).mean()))

    def said(self) -> str:
        """`mean 0.45, standard deviation 0.22, from 0 to 1`."""
        low, high = _figure(self.low.min()), _figure(self.high.max())
        mean, std = _figure(self.mean.mean()), _figure(self.std.mean())
        return f"mean {mean}, standard deviation {std}, from {low} to {high}"


def input_figures(history: History, mode: Mode = Mode.TRAIN) -> InputFigures | None:
    """The figures of a mode; None where fewer than one batch was recorded or none is finite."""
    statistics = (Statistic.MEAN, Statistic.STD, Statistic.MINIMUM, Statistic.MAXIMUM)
    rows = [history.series(Group.INPUTS, statistic, mode) for statistic in statistics]
    length = min(len(series) for series in rows)
    channels = {series.names for series in rows}
    if not length or len(channels) != 1:
        return None
    mean, std, low, high = (series.values[-length:] for series in rows)
    usable = np.isfinite(mean).all(1) & np.isfinite(std).all(1)
    if not usable.any():
        return None
    mean, std, low, high = mean[usable], std[usable], low[usable], high[usable]
    spread = mean.std(axis=0)
    steps = rows[0].steps[-length:][usable]
    return InputFigures(
        mean=mean.mean(axis=0),
        std=np.sqrt((std**2).mean(axis=0) + spread**2),
        low=low.min(axis=0),
        high=high.max(axis=0),
        error=spread / np.sqrt(max(len(mean) - 1, 1)),
        batches=len(mean),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
    )


def no_images(history: History) -> str:
    """Why rules on photos do not apply, as a sentence; empty where they do."""
    if history.structure.facts.get("inputs", "images") == "images":
        return ""
    return "The inputs are activations of a frozen trunk, no images."


def example_count(history: History, mode: Mode = Mode.TRAIN) -> int:
    """How many examples were recorded of a mode."""
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT, mode)
    counted = sum(len(values) for values in marks.values)
    return counted or int(np.nansum(history.scalar("batch_size", mode).values))


def _figure(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1e3 else f"{value:,.0f}"
