"""Momentum, or Adam's betas, that no training of this length can use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from houndsight.debugger.history import History
from houndsight.debugger.optimisation import loss_plot, main_group
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["MomentumOutOfRange"]

LARGEST_MOMENTUM = 0.992
LARGEST_DAMPENING = 0.99
LARGEST_BETA1 = 0.985
SMALLEST_BETA2 = 0.8
DEFAULT_BETAS = (0.9, 0.999)


class MomentumOutOfRange(Rule):
    """Momentum, or one of Adam's betas, is outside what lets a training converge.

    Condition, on the optimizer's settings: momentum above 0.992 or Adam's beta1 above 0.985
    (a gradient is repeated for over 100 steps, while the slope it was taken at is long gone),
    1 or more (an error), or negative; dampening of 1, with which no gradient but the first has any
    part in the steps; beta2 below 0.8; beta1 above the root of beta2, where Adam's
    proof fails and its steps are no longer bounded by the learning rate.

    Source: Sutskever et al., On the importance of initialization and momentum (ICML 2013: 0.9 to
    0.99, 0.995 at most); Kingma and Ba, Adam (ICLR 2015: beta1^2 / sqrt(beta2) < 1); Reddi et al.
    (ICLR 2018: beta1 < sqrt(beta2)).
    """

    name = "MomentumOutOfRange"

    def not_applicable(self, history: History) -> str:
        """An optimizer with momentum has to be known."""
        group = main_group(history.structure)[1]
        if group.get("momentum") is None and not group.get("betas"):
            return "No optimizer with momentum is known of this training."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for each setting that is out of range, of the group with most parameters."""
        group = main_group(history.structure)[1]
        dampened = self._dampening(history, group)
        found = [self._momentum(history, group), dampened, *self._betas(history, group)]
        return [finding for finding in found if finding]

    def _momentum(self, history: History, group: Mapping[str, Any]) -> Finding | None:
        if group.get("momentum") is None:
            return None
        momentum = float(group["momentum"])
        if 0 <= momentum <= LARGEST_MOMENTUM:
            return None
        steps = 1 / (1 - momentum) if momentum < 1 else math.inf
        title = (
            f"Momentum {momentum:g} repeats every gradient for about {number(steps)} steps, which "
            f"is a learning rate {number(steps)} times larger."
            if momentum < 1
            else f"Momentum {momentum:g} never forgets a gradient, so the steps grow without end."
        )
        if momentum < 0:
            title = f"Momentum {momentum:g} is negative and works against the gradient."
        return self._finding(history, "momentum", momentum, title, {"momentum": 0.9})

    def _dampening(self, history: History, group: Mapping[str, Any]) -> Finding | None:
        dampening = float(group.get("dampening") or 0.0)
        if dampening < LARGEST_DAMPENING or not group.get("momentum"):
            return None
        title = (
            f"Dampening {dampening:g} leaves {1 - dampening:.2g} of every gradient after the "
            "first, so the steps go on in the direction of the first one and fade away."
        )
        return self._finding(history, "dampening", dampening, title, {"dampening": 0.0})

    def _betas(self, history: History, group: Mapping[str, Any]) -> list[Finding]:
        if not group.get("betas"):
            return []
        first, second = (float(beta) for beta in tuple(group["betas"])[:2])
        change = {"betas": list(DEFAULT_BETAS)}
        if second < SMALLEST_BETA2:
            title = (
                f"Adam's beta2 of {second:g} averages squared gradients over "
                f"{1 / (1 - second):.1f} batches, too few to say how large a gradient is."
            )
            return [self._finding(history, "beta2", second, title, change)]
        if first > math.sqrt(second):
            title = (
                f"Adam's beta1 of {first:g} is above the root of beta2 ({second:g}), where its "
                f"steps are no longer bounded by the learning rate."
            )
            return [self._finding(history, "betas", first, title, change)]
        if first > LARGEST_BETA1:
            title = (
                f"Adam's beta1 of {first:g} repeats every gradient for about "
                f"{number(1 / (1 - first))} steps."
            )
            return [self._finding(history, "beta1", first, title, change)]
        return []

    def _finding(
        self, history: History, where: str, value: float, title: str, change: Mapping[str, Any]
    ) -> Finding:
        limits = {
            "momentum": LARGEST_MOMENTUM,
            "dampening": LARGEST_DAMPENING,
            "beta1": LARGEST_BETA1,
            "beta2": SMALLEST_BETA2,
            "betas": LARGEST_BETA1,
        }
        setting, better = next(iter(change.items()))
        return Finding(
            rule=self.name,
            where=where,
            severity=Severity.ERROR if not 0 <= value < 1 else Severity.WARNING,
            title=title,
            causes=(
                Cause(
                    name="momentum-wrong",
                    text=f"{where} is set to {value:g}, far from the usual {better}.",
                    fix=f"Set {setting}={better}.",
                    score=0.92,
                    evidence=f"The optimizer's settings hold {where} {value:g}.",
                    change=change,
                ),
            ),
            first_step=0,
            last_step=history.last_step,
            measured=value,
            threshold=limits[where],
            plot=loss_plot(history),
        )
