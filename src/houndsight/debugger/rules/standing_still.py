"""Why a weight that should move does not, for `ParametersNotUpdated`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from houndsight.debugger.history import History
from houndsight.debugger.optimisation import fresh_share
from houndsight.findings import Cause
from houndsight.wording import number

__all__ = ["standing_still"]


def standing_still(history: History, reason: str, names: Sequence[str]) -> tuple[Cause, ...]:
    """The causes of a reason: `rate`, `unused`, `thrown away`, `no gradient`, `zero gradient`, else
    rounding."""
    return REASONS.get(reason, _rounding)(history, names)


def _rate(history: History, names: Sequence[str]) -> tuple[Cause, ...]:
    fresh = fresh_share(history, names) > 0.5
    fresh_text = " They were never trained." if fresh else ""
    better = "the head's" if fresh else "a tenth of the head's"
    return (
        Cause(
            name="backbone-frozen",
            text=f"The learning rate of their group is 0.{fresh_text}",
            fix=f"Give that group a learning rate, such as {better}.",
            score=0.9,
            evidence="The group's learning rate was 0 at every recorded step.",
            change={"group_learning_rate_factor": 1.0 if fresh else 0.1},
        ),
    )


def _unused(_history: History, _names: Sequence[str]) -> tuple[Cause, ...]:
    return (
        Cause(
            name="unused-module",
            text="Their module was never called in a forward pass.",
            fix="Remove the module, or call it in forward.",
            score=0.8,
        ),
    )


def _thrown_away(_history: History, _names: Sequence[str]) -> tuple[Cause, ...]:
    return (
        Cause(
            name="zero-grad-misplaced",
            text="zero_grad() is called between backward() and step(), so that the optimizer finds "
            "no gradients.",
            fix="Call optimizer.zero_grad() before loss.backward() or after optimizer.step().",
            score=0.97,
            evidence="A gradient came back to the network's outputs at every step, and no "
            "parameter had one when the optimizer stepped.",
            change={"optimizer.zero_grad": "after step"},
        ),
    )


def _detached(_history: History, _names: Sequence[str]) -> tuple[Cause, ...]:
    return (
        Cause(
            name="detached",
            text="No gradient reaches them: .detach(), .data, torch.no_grad() or NumPy cut it.",
            fix="Take out the detach() or no_grad() around what computes them in forward().",
            score=0.95,
            evidence="Their .grad was never there although they ask for gradients.",
            change={"forward.detached": False},
        ),
    )


def _zero(_history: History, _names: Sequence[str]) -> tuple[Cause, ...]:
    return (
        Cause(
            name="dead-units",
            text="Their gradient is exactly 0: the units after them are dead or saturated.",
            fix=(
                "Lower the learning rate, leave PyTorch's initialisation as it is, and use "
                "BatchNorm or LeakyReLU."
            ),
            score=0.7,
            evidence="The gradient's length is 0 at every recorded step.",
        ),
        Cause(
            name="learning-rate-too-high",
            text="An early step that was too large may have killed the units.",
            fix="Start with a tenth of the learning rate.",
            score=0.4,
            change={"learning_rate_factor": 0.1},
        ),
    )


def _rounding(history: History, _names: Sequence[str]) -> tuple[Cause, ...]:
    rate = history.scalar("learning_rate").values
    known = rate[np.isfinite(rate)]
    return (
        Cause(
            name="learning-rate-too-low",
            text="The steps are so small that adding them changes no bit of the weights.",
            fix="Raise the learning rate a hundred times or more, or keep the weights in float32.",
            score=0.7,
            evidence=(
                f"They have gradients, and the learning rate is {number(float(known.max()))}."
                if len(known)
                else "They have gradients."
            ),
            change={"learning_rate_factor": 100.0},
        ),
        Cause(
            name="parameters-not-in-optimizer",
            text="optimizer.step() is not called, or the weights are overwritten after it.",
            fix="Call optimizer.step() after loss.backward(), and copy nothing back after it.",
            score=0.4,
        ),
    )


REASONS: Mapping[str, Callable[[History, Sequence[str]], tuple[Cause, ...]]] = {
    "rate": _rate,
    "unused": _unused,
    "thrown away": _thrown_away,
    "no gradient": _detached,
    "zero gradient": _zero,
}
