"""A function of the person's own has a backward pass that may be wrong."""

from __future__ import annotations

from collections.abc import Iterable

from houndsight.debugger.conditions import progress
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["OwnBackward"]

STEPS = 60
ROSE = -0.02


class OwnBackward(Rule):
    """The output goes through a `torch.autograd.Function` that is not PyTorch's, and the loss has
    risen: the layers before that function may follow a gradient that points elsewhere, or up.

    Condition: such a function is in the graph of the first step, or a module is called whose class
    is named after reversing a gradient, and after 60 steps the training
    loss is above where it began.

    Source: PyTorch's documentation of `torch.autograd.gradcheck`; Ganin and Lempitsky, Unsupervised
    Domain Adaptation by Backpropagation (2015), where a gradient is reversed for another head than
    the one that classifies.
    """

    name = "OwnBackward"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the network."""
        functions = history.structure.own_functions + _reversals(history)
        did = progress(history, least=STEPS)
        if not functions or did is None or did.fallen > ROSE or did.surely:
            return []
        reversal = next((name for name in functions if "revers" in name.lower()), None)
        shown = reversal or functions[0]
        return [
            Finding(
                rule=self.name,
                where=shown,
                severity=Severity.WARNING,
                title=(
                    f"The loss rose from {number(did.start)} to {number(did.recent)}, and the "
                    f"gradient goes through {shown}, whose backward pass is not PyTorch's."
                ),
                causes=(
                    Cause(
                        name="gradient-reversed" if reversal else "backward-wrong",
                        text=f"{shown} passes on a gradient that leads the layers before it uphill."
                        if reversal
                        else f"The backward pass of {shown} may not be that of its forward pass.",
                        fix=f"Take {shown} out of the way to the classes; it belongs before a "
                        "domain classifier."
                        if reversal
                        else f"Check it: torch.autograd.gradcheck({shown}.apply, inputs in double "
                        "precision).",
                        score=0.93 if reversal else 0.7,
                        evidence=f"It is in the graph of the output: {', '.join(functions[:4])}.",
                        change={"forward.gradient_factor": 1.0} if reversal else {},
                    ),
                ),
                first_step=0,
                last_step=history.last_step,
                measured=did.fallen,
                threshold=ROSE,
                plot=loss_plot(history),
            )
        ]


def _reversals(history: History) -> tuple[str, ...]:
    """Classes of called modules that say that they reverse gradients."""
    kinds = (module.kind for module in history.structure.in_order())
    return tuple(k for k in kinds if "revers" in k.lower() or "revgrad" in k.lower())
