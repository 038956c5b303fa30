"""Layers that the model does not know of."""

from __future__ import annotations

import math
from collections.abc import Iterable

from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import plural

__all__ = ["ParametersNotRegistered"]

SHAPES = 4


class ParametersNotRegistered(Rule):
    """Layers take part in the forward pass that are no part of the model: kept in a plain list or
    dict, or made within forward(). `model.parameters()` does not list them, so that no optimizer
    gets them; they are neither moved to a GPU nor saved.

    Condition, from the graph of the first training step: between the inputs and the output there
    is a parameter that asks for a gradient and that is neither one of the model's nor held by a
    watched optimizer, and that nothing has changed since. What made the inputs is left out.

    Source: PyTorch's documentation of `nn.ModuleList`; Humbatova et al., Taxonomy of Real Faults in
    Deep Learning Systems (ICSE 2020).
    """

    name = "ParametersNotRegistered"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for all such parameters."""
        strangers = history.structure.strangers
        if not strangers:
            return []
        elements = sum(math.prod(shape) for shape in strangers)
        known = sum(math.prod(p.shape) for p in history.structure.parameters)
        shapes = ", ".join(" x ".join(map(str, shape)) or "1" for shape in strangers[:SHAPES])
        more = " …" if len(strangers) > SHAPES else ""
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.ERROR,
                title=(
                    f"{plural(len(strangers), 'parameter')} in the forward pass belong to no "
                    f"module of the model and to no optimizer, so they stay as they were drawn: "
                    f"of shape {shapes}{more}."
                ),
                causes=(
                    Cause(
                        name="parameters-not-registered",
                        text="The layers are kept in a Python list or dict, or made in forward(), "
                        "where PyTorch does not look for them.",
                        fix="Keep them in nn.ModuleList, nn.ModuleDict or as attributes set in "
                        "__init__, and make the optimizer after that.",
                        score=0.97,
                        evidence=f"They hold {elements:,} values; the model knows of {known:,}.",
                        change={"model.modules": "registered"},
                    ),
                ),
                count=len(strangers),
                first_step=0,
                last_step=history.last_step,
                measured=elements / max(elements + known, 1),
                threshold=0.0,
                plot=loss_plot(history),
            )
        ]
