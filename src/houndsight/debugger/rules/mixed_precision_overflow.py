"""The gradient scaler keeps lowering its scale."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import known_scalar
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["MixedPrecisionOverflow"]

SETTLED = 20
WINDOW = 100
OFTEN = 5
SMALLEST = 1.0


class MixedPrecisionOverflow(Rule):
    """Gradients overflow float16 again and again; the scaler skips those steps.

    Condition: the loss scale fell below 1 (an error: the loss itself is too large, or NaN), or
    halved at least five times within 100 steps after the first 20. The first halvings, while the
    scaler looks for its scale, and one now and then as it tries a larger one, are ordinary.

    Source: PyTorch's GradScaler (65,536 at first, halved on overflow, doubled after 2,000 good
    steps); Micikevicius et al., Mixed Precision Training (ICLR 2018).
    """

    name = "MixedPrecisionOverflow"

    def not_applicable(self, history: History) -> str:
        """There has to be a scaler."""
        if history.last_step and not len(history.scalar("loss_scale")):
            return "The training uses no gradient scaler."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        scale, values = known_scalar(history, "loss_scale")
        scale, values = scale.at(values > 0), values[values > 0]
        if len(scale) < 2:
            return []
        halvings = np.round(np.maximum(-np.diff(np.log2(values)), 0)).astype(int)
        at = scale.steps[1:]
        late = at > scale.steps[0] + SETTLED
        dense = [int(halvings[late & (at > s - WINDOW) & (at <= s)].sum()) for s in at]
        worst = max(dense, default=0)
        if worst < OFTEN and values.min() >= SMALLEST:
            return []
        fell = at[halvings > 0]
        total = int(halvings.sum())
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.ERROR if values.min() < SMALLEST else Severity.WARNING,
                title=(
                    f"The loss scale fell from {number(values.max())} to {number(values.min())}: "
                    f"gradients overflowed and {total:,} steps were skipped, up to {worst} in "
                    f"{WINDOW} steps."
                ),
                causes=_causes(history),
                count=total,
                first_step=int(fell[0]),
                last_step=int(fell[-1]),
                measured=float(values.min()) if values.min() < SMALLEST else float(worst),
                threshold=SMALLEST if values.min() < SMALLEST else float(OFTEN),
                plot=line_plot(
                    scale.steps, {"loss scale": values}, y_label="loss scale", logarithmic=True
                ),
            )
        ]


def _causes(history: History) -> tuple[Cause, ...]:
    norms = history.scalar("gradient_norm")
    known = norms.values[np.isfinite(norms.values)]
    grown = len(known) > 2 and float(known[-1]) > 10 * float(np.median(known))
    overflow = Cause(
        name="mixed-precision-overflow",
        text="Activations or gradients leave the range of float16 (65,504).",
        fix=(
            "Use bfloat16 (torch.autocast(dtype=torch.bfloat16), no scaler), or compute the "
            "softmax, the loss and the normalisation in float32."
        ),
        score=0.7,
        evidence="The scaler skips a step only when a gradient is infinite or NaN.",
        change={"precision": "bfloat16"},
    )
    growth = Cause(
        name="exploding-gradient",
        text="The gradients grow until no scale fits them.",
        fix="Clip the gradient's length to 1 after scaler.unscale_(), or lower the learning rate.",
        score=0.75 if grown else 0.3,
        evidence=(
            f"The gradient's length ended at {number(float(known[-1]))}, median "
            f"{number(float(np.median(known)))}."
            if len(known)
            else ""
        ),
        change={"clip_norm": 1.0},
    )
    return tuple(sorted((overflow, growth), key=lambda cause: -cause.score))
