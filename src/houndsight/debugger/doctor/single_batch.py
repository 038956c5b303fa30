"""Overfit a single batch: what cannot learn one batch by heart cannot learn anything.

(Karpathy, "A Recipe for Training Neural Networks", 2019; Ben Braiek and Khomh, TheDeepChecker,
TOSEM 2022, section 3.4.)
"""

from __future__ import annotations

import math
from dataclasses import replace

from houndsight.debugger.doctor.bench import Bench, Setup
from houndsight.debugger.doctor.checks import Shown
from houndsight.wording import number

__all__ = ["single_batch"]

STEPS = 60
LEARNT = 0.1
"""Share of the first loss below which the batch is learnt."""
FLOOR = "softmax-before-loss"
BROKEN = (
    "wrong-loss",
    "zero-grad-missing",
    "parameters-not-in-optimizer",
    "backbone-frozen",
    "dead-units",
    "poor-initialisation",
    "weight-decay-wrong",
    "epsilon-wrong",
)
"""Causes that keep a network from learning a single batch, the one with a floor apart."""


def single_batch(bench: Bench, setup: Setup, rate: float | None) -> Shown:
    """Train on the first batch again and again, at a learning rate that is known to fall."""
    setup = replace(setup, rate=rate) if rate is not None else setup
    curve = bench.train(setup, steps=STEPS, only_first=True)
    used = number(rate if rate is not None else bench.rate)
    points = [[n, v] for n, v in enumerate(curve.losses) if math.isfinite(v)]
    first, last = curve.losses[0], _arrives(curve.losses)
    size = sum(len(batch.targets) for batch in bench.steps[0].batches)
    text = (
        f"On the first batch of {size} alone the loss goes from {number(first)} to "
        f"{number(last)} in {len(curve.losses)} steps at a learning rate of {used}"
    )
    if last < LEARNT * first:
        text += ": model, loss and optimizer work together, and the fault lies elsewhere."
        return _shown(text, points, refutes=(*BROKEN, FLOOR))
    if curve.cut_off:
        return _shown(f"{text}, when the time was up; give it more with --trial-seconds.", points)
    right = curve.accuracies[-1] if curve.accuracies else 0.0
    if right == 1.0:
        text += ", though every answer is right: something keeps the loss from falling further."
        return _shown(text, points, confirms=(FLOOR,))
    text += f", with {right:.0%} of the answers right: it cannot be learnt by heart."
    return _shown(text, points, confirms=(*BROKEN, FLOOR))


def _arrives(losses: list[float]) -> float:
    """The mean of the last fifth."""
    last = losses[-max(len(losses) // 5, 1) :]
    return sum(last) / len(last)


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
