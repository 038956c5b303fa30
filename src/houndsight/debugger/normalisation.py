"""Whether what comes out of BatchNorm is normalised, judged by its size."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History
from houndsight.debugger.record import Group, Mode, Statistic

__all__ = ["batchnorm_misfit"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def batchnorm_misfit(history: History, mode: Mode = Mode.TRAIN) -> tuple[Integers, Floats]:
    """Steps, and how many times too large or small BatchNorm's outputs are (1: as they must be).

    Values of mean 0 and variance 1 that are scaled by w and shifted by b have a mean square of
    w^2 + b^2. By the statistics of the batch that holds exactly; by running ones only if they
    are those of the data. Medians over the layers; a layer's figure comes from its sample.
    """
    mean = history.series(Group.ACTIVATIONS, Statistic.MEAN, mode)
    spread = history.series(Group.ACTIVATIONS, Statistic.STD, mode)
    layers = [m.name for m in history.structure.modules if "BatchNorm" in m.kind]
    layers = [name for name in layers if name in spread.names]
    if not layers or len(mean) != len(spread):
        return np.empty(0, np.int64), np.empty(0)
    ratios = np.full((len(spread), len(layers)), np.nan)
    with np.errstate(all="ignore"):
        for column, name in enumerate(layers):
            size = np.hypot(mean.of(name), spread.of(name))
            ratio = size / _expected(history, name, spread.steps)
            ratios[:, column] = np.exp(np.abs(np.log(ratio)))
    usable = np.isfinite(ratios).any(axis=1)
    ratios = np.where(np.isfinite(ratios[usable]), ratios[usable], np.nan)
    return spread.steps[usable], np.nanmedian(ratios, axis=1) if usable.any() else np.empty(0)


def _expected(history: History, name: str, steps: Integers) -> Floats:
    """(n,) root of the mean of w^2 + b^2 over the channels, by the lengths nearest before."""
    norms = history.series(Group.PARAMETERS, Statistic.NORM)
    weight = history.structure.parameter(f"{name}.weight")
    if weight is None or not len(norms):
        return np.ones(len(steps))
    length = np.hypot(norms.of(f"{name}.weight"), np.nan_to_num(norms.of(f"{name}.bias")))
    nearest = np.clip(np.searchsorted(norms.steps, steps, "right") - 1, 0, len(norms) - 1)
    return np.maximum(length[nearest] / math.sqrt(math.prod(weight.shape)), 1e-12)
