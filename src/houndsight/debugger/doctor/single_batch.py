"""Overfit a single batch: what cannot learn one batch by heart cannot learn anything.

(Karpathy, "A Recipe for Training Neural Networks", 2019; Ben Braiek and Khomh, TheDeepChecker,
TOSEM 2022, section 3.4.)
"""

from __future__ import annotations

import math
from dataclasses import replace

from houndsight.debugger.doctor.bench import Bench, Curve, Setup
from houndsight.debugger.doctor.checks import Shown
from houndsight.wording import number

__all__ = ["single_batch"]

STEPS = 60
LEARNT = 0.1
"""Share of the first loss below which the batch is learnt."""
BROKEN = (
    "softmax-before-loss",
    "wrong-loss",
    "zero-grad-missing",
    "parameters-not-in-optimizer",
    "backbone-frozen",
    "dead-units",
    "poor-initialisation",
    "weight-decay-wrong",
    "epsilon-wrong",
)
"""Causes that keep a network from learning a single batch."""


def single_batch(bench: Bench, setup: Setup, rate: float | None) -> Shown:
    """Train on the first batch again and again, at a learning rate that is known to fall."""
    setup = replace(setup, rate=rate) if rate is not None else setup
    curve = bench.train(setup, steps=STEPS, only_first=True)
    used = number(rate if rate is not None else bench.rate)
    first, last = curve.measured[0], curve.end
    points = [[n, v] for n, v in enumerate(curve.measured) if math.isfinite(v)]
    learnt = last < LEARNT * first
    size = sum(len(batch.targets) for batch in bench.steps[0].batches)
    begin = (
        f"On the first batch of {size} alone the loss goes from {number(first)} to "
        f"{number(last)} in {len(curve.measured)} steps at a learning rate of {used}"
    )
    if learnt:
        text = f"{begin}: model, loss and optimizer work together, and the fault lies elsewhere."
        return _shown(text, points, refutes=BROKEN)
    return _shown(f"{begin}{_right(curve)}: it cannot learn it by heart.", points, confirms=BROKEN)


def _right(curve: Curve) -> str:
    return f", with {curve.accuracies[-1]:.0%} of the answers right" if curve.accuracies else ""


def _shown(
    text: str,
    points: list[list[float]],
    *,
    confirms: tuple[str, ...] = (),
    refutes: tuple[str, ...] = (),
) -> Shown:
    return Shown(
        check="overfitting a single batch",
        text=text,
        confirms=confirms,
        refutes=refutes,
        curves={"single batch": points},
    )
