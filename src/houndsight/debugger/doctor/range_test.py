"""The learning-rate range test (Smith, "Cyclical Learning Rates", WACV 2017, section 3.3).

The learning rate grows from step to step; the loss begins to fall where it is high enough and
rises where it is too high.
"""

from __future__ import annotations

import math

import numpy as np

from houndsight.debugger.doctor.bench import Bench, Setup
from houndsight.debugger.doctor.checks import Shown
from houndsight.wording import number

__all__ = ["range_test"]

STEPS = 60
LOWEST, HIGHEST = 1e-6, 10.0
LEAVE_AT = 3.0
"""Times the lowest loss, from which on it only gets worse."""
SMOOTHING = 0.7
FALLS = 0.01
"""Share of the first loss that it must fall by for the test to say anything."""
BELOW_TURN = 4.0
"""The largest rate to train with lies this far below the one where the loss turns: in a test the
higher rates come last, when the weights can bear them already (fast.ai uses up to 10)."""
TOO_FAR = 3.0
"""Rates further than this from the test's own are too high or too low."""


def range_test(bench: Bench, setup: Setup) -> Shown:
    """Run it with the script's optimizer, on the script's batches."""
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    curve = bench.train(setup, steps=STEPS, rates=rates, until=LEAVE_AT)
    losses = np.array(curve.losses)
    shown = [[r, v] for r, v in zip(rates, curve.losses, strict=False) if math.isfinite(v)]
    smooth = _smoothed(losses)
    lowest = int(np.nanargmin(smooth)) if np.isfinite(smooth).any() else 0
    fell = float(smooth[0] - smooth[lowest]) if len(smooth) else 0.0
    if not fell > FALLS * abs(float(smooth[0])):
        return Shown(
            check="learning-rate range test",
            text=f"No learning rate from {number(rates[0])} to {number(rates[len(losses) - 1])} "
            "makes the loss fall: the learning rate is not what is wrong.",
            refutes=("learning-rate-too-high", "learning-rate-too-low"),
            curves={"range": shown},
        )
    turn = rates[lowest]
    falling = np.flatnonzero(smooth[0] - smooth > 0.1 * fell)
    begins = rates[int(falling[0])]
    better = float(f"{max(turn / BELOW_TURN, begins):.1g}")
    return Shown(
        check="learning-rate range test",
        text=f"The loss falls from a learning rate of {number(begins)} on and turns at "
        f"{number(turn)}. {_verdict(bench.rate, better, turn)}",
        rate=better,
        curves={"range": shown},
        **_causes(bench.rate, better, turn),
    )


def _smoothed(losses: np.ndarray) -> np.ndarray:
    """An exponential mean, corrected for its beginning (as fast.ai's finder has it)."""
    mean, smooth = 0.0, []
    for place, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smooth.append(mean / (1 - SMOOTHING ** (place + 1)))
    return np.array(smooth)


def _verdict(own: float, better: float, turn: float) -> str:
    if own > turn:
        times = f"{own / turn:.0f} times" if own > 1.5 * turn else "slightly"
        return f"The script's {number(own)} is {times} above; {number(better)} is safe."
    if own < better / TOO_FAR**2:
        return f"The script's {number(own)} is {better / own:,.0f} times below {number(better)}."
    return f"The script's {number(own)} is within the range."


def _causes(own: float, better: float, turn: float) -> dict[str, tuple[str, ...]]:
    high, low = ("learning-rate-too-high",), ("learning-rate-too-low",)
    if own > turn:
        return {"confirms": high, "refutes": low}
    if own < better / TOO_FAR**2:
        return {"confirms": low, "refutes": high}
    return {"refutes": low if own > better / TOO_FAR else ()}
