"""The learning-rate range test (Smith, "Cyclical Learning Rates", WACV 2017, section 3.3).

The learning rate grows from step to step; the loss begins to fall where it is high enough and
rises where it is too high.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.doctor.bench import Bench, Setup
from houndsight.debugger.doctor.checks import Shown
from houndsight.wording import number

__all__ = ["range_test"]

Floats = npt.NDArray[np.float64]
STEPS = 40
LOWEST, HIGHEST = 1e-6, 10.0
BELOW, ABOVE = 1e-4, 1e2
"""How far below and above the script's own learning rate is looked."""
WORTH_TRYING = 0.1
"""Up to which it is looked in any case."""
LEAVE_AT = 3.0
"""Times the lowest loss, from which on it only gets worse."""
SMOOTHING = 0.7
FALLS = 0.02
"""Share of the first loss that it must fall by for the test to say anything."""
RISES = 0.1
"""Share of the whole fall that the loss must rise by for the rate to be too high. Before that it
may rest at the bottom, where more steps have nothing to gain."""
BELOW_TURN = 10.0
"""The rate to train with lies this far below the one from which on the loss rises (fast.ai's
finder takes the same): in a test the highest rates come when the weights can bear them already."""
TOO_LOW = 30.0
"""A rate this far below it is too low."""


def range_test(bench: Bench, setup: Setup) -> Shown:
    """Run it with the script's optimizer, on the script's batches."""
    rates = _rates(bench.rate)
    curve = bench.train(setup, steps=STEPS, rates=rates, until=LEAVE_AT)
    losses = np.array(curve.losses)
    finite = losses[np.isfinite(losses)]
    shown = [[r, v] for r, v in zip(rates, curve.losses, strict=False) if math.isfinite(v)]
    smooth = _smoothed(finite)
    reached = rates[len(losses) - 1]
    lowest = int(smooth.argmin()) if len(smooth) else 0
    fell = float(smooth[0] - smooth[lowest]) if len(smooth) else 0.0
    if curve.cut_off and lowest >= len(smooth) - 2:
        return _shown(
            f"The time was up at a learning rate of {number(reached)}, where the loss still fell "
            "or rested; give it more with --trial-seconds.",
            shown,
        )
    if not fell > FALLS * abs(float(smooth[0]) if len(smooth) else 1.0):
        return _shown(
            f"No learning rate from {number(rates[0])} to {number(reached)} makes the loss fall: "
            "the learning rate is not what is wrong, or not all of it.",
            shown,
            refutes=("learning-rate-too-high", "learning-rate-too-low"),
        )
    resting = np.flatnonzero(smooth[lowest:] <= smooth[lowest] + RISES * fell)
    gaps = np.flatnonzero(np.diff(resting) > 1)
    turn = rates[lowest + int(resting[gaps[0]] if len(gaps) else resting[-1])]
    begins = rates[int(np.flatnonzero(smooth[0] - smooth > RISES * fell)[0])]
    better = float(f"{max(turn / BELOW_TURN, begins):.1g}")
    rises = "rises beyond" if turn < reached else "still does at"
    confirms, refutes, verdict = _verdict(bench.rate, better, turn)
    return _shown(
        f"The loss falls from a learning rate of {number(begins)} on and {rises} {number(turn)}. "
        f"{verdict}",
        shown,
        rate=better,
        confirms=confirms,
        refutes=refutes,
    )


def _rates(own: float) -> list[float]:
    low = min(max(own * BELOW, LOWEST), WORTH_TRYING / 100)
    high = max(min(own * ABOVE, HIGHEST), WORTH_TRYING, own)
    return list(map(float, np.geomspace(low, high, STEPS)))


def _shown(text: str, points: list[list[float]], **values: Any) -> Shown:
    return Shown(check="learning-rate range test", text=text, curves={"range": points}, **values)


def _smoothed(losses: Floats) -> Floats:
    """An exponential mean, corrected for its beginning (as fast.ai's finder has it)."""
    mean, smooth = 0.0, []
    for place, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smooth.append(mean / (1 - SMOOTHING ** (place + 1)))
    return np.array(smooth)


def _verdict(
    own: float, better: float, turn: float
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Which causes it confirms and refutes, and what it says of the script's own rate."""
    high, low = ("learning-rate-too-high",), ("learning-rate-too-low",)
    if own > turn:
        times = f"{own / turn:.0f} times" if own > 1.5 * turn else "slightly"
        return high, low, f"The script's {number(own)} is {times} above; {number(better)} is safe."
    if own < better / TOO_LOW:
        times = f"{better / own:,.0f} times"
        return low, high, f"The script's {number(own)} is {times} below {number(better)}."
    return (), (low if own > better / 3 else ()), f"The script's {number(own)} is within the range."
