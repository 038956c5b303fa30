"""How the learning rate goes over a training."""

from __future__ import annotations

import math

from torch.optim import Optimizer

__all__ = ["cosine_with_warmup", "set_learning_rates"]


def cosine_with_warmup(step: int, steps: int, warmup_share: float) -> float:
    """The factor of the peak learning rate for `step` (0 to `steps` - 1), above 0 and at most 1.

    A straight rise over the first share of the steps (Goyal et al. 2017), then half a cosine
    (Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts). A function of the step
    alone: a training that resumes has nothing to restore.
    """
    warmup = min(round(steps * warmup_share), steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def set_learning_rates(optimizer: Optimizer, factor: float) -> tuple[float, ...]:
    """Set each group's rate to `factor` times its `peak_rate`; the rates, in group order."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_rate"] * factor
    return tuple(float(group["lr"]) for group in optimizer.param_groups)
