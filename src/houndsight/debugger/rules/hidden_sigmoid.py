"""Sigmoids between the layers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import progress
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import ModuleRecord
from houndsight.findings import Cause, Finding, Severity

__all__ = ["HiddenSigmoid"]

LAYERS = 2
SQUASHING = ("sigmoid", "softmax")
NORMS = ("LayerNorm", "RMSNorm")
STEPS = 60
SLOW = 0.7
ACTIVATIONS = (
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ReLU6",
    "ELU",
    "SELU",
    "CELU",
    "GELU",
    "SiLU",
    "Mish",
    "Hardswish",
    "Softplus",
    "Tanh",
)


class HiddenSigmoid(Rule):
    """The hidden layers end in sigmoids or softmaxes, each of which passes on at most a quarter of
    the gradient and gives much the same outputs whatever the photo, so that learning is slow.

    Condition: two or more of the modules called before the head are such and none is another
    activation (the gates of squeeze-and-excitation stand beside ReLUs and do not count; nor do
    softmaxes beside a LayerNorm or in modules named after attention). It is a
    warning when after 60 steps the training loss has lost less than 70 % of what it was, else a
    remark.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks (2010).
    """

    name = "HiddenSigmoid"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the network."""
        called = history.structure.in_order()
        names = [module.name for module in called]
        head = history.structure.head
        before = called[: names.index(head)] if head in names else called
        kinds = [module.activation for module in before]
        squashed = [m.name for m, k in zip(before, kinds, strict=True) if k in SQUASHING]
        softmax = "softmax" in kinds
        if softmax and any(_attends(module) for module in called):
            return []
        others = {kind.lower() for kind in ACTIVATIONS}
        if len(squashed) < LAYERS or any(kind in others for kind in kinds):
            return []
        did = progress(history, least=STEPS)
        slow = did is not None and did.fallen < SLOW
        fallen = did.fallen if did is not None else float("nan")
        said = (
            f" and the loss has fallen by {max(fallen, 0):.0%} in {did.steps:,} steps"
            if did is not None
            else ""
        )
        return [
            Finding(
                rule=self.name,
                where=squashed[0],
                severity=Severity.WARNING if slow else Severity.INFO,
                title=f"All {len(squashed)} hidden activations are "
                f"{'softmaxes' if softmax else 'sigmoids'}{said}.",
                causes=(
                    Cause(
                        name="vanishing-gradient-depth",
                        text="A softmax shares 1 among all channels, so that each is tiny and its "
                        "slope with it."
                        if softmax
                        else "A sigmoid's slope is a quarter at most, and its outputs are never "
                        "centred.",
                        fix="Take ReLU or GELU between the layers; keep the "
                        f"{'softmax' if softmax else 'sigmoid'} for outputs that are "
                        "probabilities.",
                        score=0.92,
                        evidence=f"{len(squashed)} of them leave 1/{4 ** len(squashed):,} of "
                        "the gradient at most.",
                        change={"activation": "relu"},
                    ),
                ),
                first_step=0,
                last_step=history.last_step,
                count=len(squashed),
                measured=fallen if np.isfinite(fallen) else None,
                threshold=SLOW,
                plot=loss_plot(history),
                examples=tuple(squashed[:8]),
            )
        ]


def _attends(module: ModuleRecord) -> bool:
    """Whether the module speaks for attention, whose softmax chooses and activates nothing."""
    return module.kind in NORMS or "att" in module.name.lower()
