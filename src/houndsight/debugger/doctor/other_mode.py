"""The same batch in training mode and in evaluation mode: dropout and BatchNorm alone differ."""

from __future__ import annotations

from torch import nn

from houndsight.debugger.doctor.bench import Bench
from houndsight.debugger.doctor.checks import Shown
from houndsight.wording import number

__all__ = ["other_mode"]

SAME = 1e-4
"""Relative difference of losses below which the mode makes none."""


def other_mode(bench: Bench) -> Shown:
    """One forward in each mode, with the weights as they were before the first step."""
    batch = bench.steps[0].batches[0]
    (training, out), (evaluating, other) = (
        bench.forward(batch, training=True),
        bench.forward(batch, training=False),
    )
    kinds = _kinds(bench.model)
    used = "training" if bench.model.training else "evaluation"
    begin = (
        f"The first batch's loss is {number(training)} in training mode and "
        f"{number(evaluating)} in evaluation mode; the script trains in {used} mode"
    )
    if abs(training - evaluating) <= SAME * max(abs(training), abs(evaluating), SAME):
        why = "" if kinds else ", for the network has no Dropout and no BatchNorm module"
        return Shown(
            check="forward pass in the other mode",
            text=f"{begin}. The mode makes no difference{why}.",
            # Without such a module only F.dropout is evaluated wrongly, which no mode changes.
            refutes=() if kinds else ("train-mode-missing",),
        )
    agree = ""
    if out.ndim == 2 and out.shape == other.shape and out.shape[1] > 1:
        share = float((out.argmax(1) == other.argmax(1)).float().mean())
        agree = f", and {1 - share:.0%} of the answers change"
    return Shown(
        check="forward pass in the other mode",
        text=f"{begin}{agree}. What differs: {', '.join(kinds)}.",
        confirms=("train-mode-missing",) if used == "evaluation" else (),
        refutes=("train-mode-missing",) if used == "training" else (),
    )


def _kinds(model: nn.Module) -> list[str]:
    return list(dict.fromkeys(kind for m in model.modules() if (kind := _kind(m))))


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return "BatchNorm"
    return "dropout" if isinstance(module, nn.modules.dropout._DropoutNd) else ""
