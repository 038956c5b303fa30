"""Weights that are held within a limit after every step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot, weight_names
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import LossRecord
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["WeightsClamped"]

Floats = npt.NDArray[np.float64]
STEPS = 10
WEIGHTS = 3
MOST = 0.8
WITHIN = 1e-3
NEARLY, LARGER = 0.05, 4 / 3
"""A step between two clamps moves the extremes a little."""
LARGEST = 0.5


class WeightsClamped(Rule):
    """Something holds every weight within the same small limit after each step, as Wasserstein
    GANs do with their critics. A classifier cannot put together features from weights like that.

    Condition: over the last ten recorded steps the smallest and the largest sampled value of 80 %
    of the weights (three at least, with two axes and more) are minus and plus the same number,
    below 0.5 (binary networks hold theirs within 1): to a thousandth, or to a twentieth where
    those weights were at least a third larger when they were drawn. Not where none of PyTorch's
    losses is called, as by the critic of a Wasserstein GAN, which must be held.

    Source: Arjovsky et al., Wasserstein GAN (ICML 2017), clip by 0.01; that tensors of different
    shapes share both extremes by chance has no probability worth speaking of.
    """

    name = "WeightsClamped"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the network."""
        names = weight_names(history.structure)
        low, high = (
            history.series(Group.PARAMETERS, statistic).only(names)
            for statistic in (Statistic.MINIMUM, Statistic.MAXIMUM)
        )
        if low.names != high.names or len(low.names) < WEIGHTS or len(low) != len(high):
            return
        if len(low) < STEPS or (history.structure.loss or LossRecord(kind="")).kind == "custom":
            return
        limit = float(np.median(np.maximum(-low.values, high.values)[-STEPS:].max(axis=1)))
        if not 0 < limit < LARGEST:
            return
        held = _held(low.values, high.values, limit)
        if float(held.mean()) < MOST:
            return
        yield Finding(
            rule=self.name,
            where="",
            severity=Severity.WARNING,
            title=(
                f"{int(held.sum())} of {len(held)} weights end at exactly {number(-limit)} and "
                f"{number(limit)}: something holds them within these limits."
            ),
            causes=(
                Cause(
                    name="weights-clamped",
                    text="The training loop clamps the weights after each step.",
                    fix="Take out the clamp_() of the parameters; to limit them, use the "
                    "optimizer's weight_decay.",
                    score=0.96,
                    evidence="Tensors of different shapes have the same extremes.",
                    change={"weights.clamp": None},
                ),
            ),
            count=int(held.sum()),
            first_step=int(low.steps[0]),
            last_step=int(low.steps[-1]),
            measured=limit,
            threshold=LARGEST,
            plot=loss_plot(history),
            examples=tuple(n for n, is_held in zip(low.names, held, strict=True) if is_held)[:8],
        )


def _held(low: Floats, high: Floats, limit: float) -> npt.NDArray[np.bool_]:
    """(weights,) whether both extremes stand at the limit."""
    off = np.maximum(np.abs(-low[-STEPS:] / limit - 1), np.abs(high[-STEPS:] / limit - 1))
    larger = np.minimum(-low[0], high[0]) > LARGER * limit
    held: npt.NDArray[np.bool_] = off.max(axis=0) < np.where(larger, NEARLY, WITHIN)
    return held
