"""A layer so narrow that little gets through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from houndsight.debugger.examples import class_count
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.rules.wrong_loss import REGRESSION
from houndsight.debugger.structure import ModuleRecord
from houndsight.findings import Cause, Finding, Severity

__all__ = ["LayerTooNarrow"]

CLASSES = 3
FEWEST = 2
WIDTH = 32
GATES = ("sigmoid", "softmax", "hardsigmoid", "tanh")


class LayerTooNarrow(Rule):
    """All that the network knows of a photo has to pass through one or two numbers, which is too
    little to tell its classes apart.

    Condition, from the structure alone: a Linear layer takes what the Linear layer called before
    it gives, and that is a single number (a warning), or two numbers for more than four classes (a
    remark: it is how features are drawn on paper). Not meant are gates, behind or within which
    stands a sigmoid or softmax, the first layer of inputs that are that narrow, and networks that
    are trained for values, such as autoencoders.

    Source: ours, by the data processing inequality (Cover and Thomas, Elements of Information
    Theory, section 2.8).
    """

    name = "LayerTooNarrow"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the narrowest layer."""
        classes = class_count(history)
        found = _narrow(history.structure.in_order())
        loss = history.structure.loss
        values = loss is not None and loss.target_kind == "values" and loss.kind in REGRESSION
        if classes < CLASSES or found is None or values:
            return []
        narrow, after = found
        width = int(after.settings["in_features"])
        if width == FEWEST and classes <= 2 * FEWEST:
            return []
        return [
            Finding(
                rule=self.name,
                where=narrow.name,
                severity=Severity.WARNING if width < FEWEST else Severity.INFO,
                title=(
                    f"{narrow.name} leaves {width} number{'s' if width > 1 else ''} of each photo, "
                    f"from which {after.name} is to tell {classes:,} classes apart."
                ),
                causes=(
                    Cause(
                        name="layer-too-narrow",
                        text=f"{narrow.name} has out_features={width}.",
                        fix=f"Make it wider: {max(WIDTH, 2 * classes)} features or more.",
                        score=0.93 if width < FEWEST else 0.4,
                        evidence=f"{narrow.kind} {narrow.name} is followed by {after.name} with "
                        f"in_features={width}.",
                        change={"layer.width": max(WIDTH, 2 * classes)},
                    ),
                ),
                first_step=0,
                last_step=history.last_step,
                measured=float(width),
                threshold=float(FEWEST),
                plot=loss_plot(history),
            )
        ]


def _narrow(called: Sequence[ModuleRecord]) -> tuple[ModuleRecord, ModuleRecord] | None:
    """The narrowest Linear layer, and the one that it feeds."""
    best: tuple[ModuleRecord, ModuleRecord] | None = None
    before: ModuleRecord | None = None
    for place, module in enumerate(called):
        if module.activation in GATES:
            before = None
        if module.kind != "Linear":
            continue
        width = module.settings.get("in_features")
        fed = before is not None and before.settings.get("out_features") == width
        if (
            before is not None
            and fed
            and isinstance(width, int)
            and 0 < width <= FEWEST
            and _wider(before, module)
            and not (called[place + 1 :] and called[place + 1].activation in GATES)
            and (best is None or width < int(best[1].settings["in_features"]))
        ):
            best = (before, module)
        before = module
    return best


def _wider(before: ModuleRecord, after: ModuleRecord) -> bool:
    """Whether there was more before the narrow place, and more is wanted after it."""
    narrow = int(after.settings["in_features"])
    return (
        int(before.settings.get("in_features", 0)) > narrow
        and int(after.settings.get("out_features", 0)) > narrow
    )
