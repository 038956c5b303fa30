"""What comes back to the outputs is not the gradient of the batch's mean loss."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import (
    adaptive,
    known_scalar,
    main_group,
    weight_ratios,
)
from houndsight.debugger.record import Group
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LossGradient"]

STEPS = 5
EARLY = 20
ALIGNED = 0.9
SCALED = 8.0
LARGE_STEP = 0.03
SIMILAR, SHORT = 0.15, 0.05
STEADY = 0.02
SMALL_STEP = 1e-3
FEW_ROWS, LEAST_BATCH = 0.4, 4
NO_LOSS = 1e-5
"""Below it p - y is 0 in float32, or nearly."""


class LossGradient(Rule):
    """What the optimizer follows is not the gradient of the loss of the batch: the loss is
    negated, so that the training unlearns; it is multiplied or summed, so that every step is that
    many times longer; or only a few examples of a batch have a part in it.

    Condition, over the first 20 recorded steps, five at least, of the gradient that came back to
    the network's outputs, set beside the gradient (p - y) / n of the mean cross-entropy of the
    same outputs and labels: the two point in opposite directions (a median cosine below -0.9), or
    the optimizer was made with `maximize=True` and they do not;
    or in the same one (above 0.9), eight times longer or more, which is a warning for an optimizer
    that does not divide by the gradient's size (SGD) when the median weight's first updates are
    above 0.03 of its length, else a remark; or in the same half (above 0.15) and less than a
    twentieth as long, which is a warning where how much is left changes from step to step (the
    examples have weights, as in a focal loss), and with SGD where the first updates are below
    0.001; or, of batches of four and more, at most 40 % of the
    examples get any gradient although more of them have a loss.

    Source: ours; the gradient of softmax and cross-entropy is p - y (Bridle, 1990).
    """

    name = "LossGradient"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the sign or the length, one for the examples."""
        yield from self._length(history)
        yield from self._rows(history)

    def _length(self, history: History) -> Iterable[Finding]:
        scale, alignment = (_early(history, f"gradient_{name}") for name in ("scale", "alignment"))
        if min(len(scale), len(alignment)) < STEPS:
            return
        times, cosine = float(np.median(scale)), float(np.median(alignment))
        maximized = bool(main_group(history.structure)[1].get("maximize"))
        if cosine < -ALIGNED and not maximized:
            yield self._finding(history, "sign", Severity.ERROR, _negated(times), times, 0.0)
        elif cosine > ALIGNED and maximized:
            yield self._finding(history, "sign", Severity.ERROR, _maximized(times), times, 0.0)
        elif cosine > ALIGNED and times > SCALED:
            middle = weight_ratios(history)[1][:STEPS]
            large = len(middle) > 0 and float(np.median(middle)) > LARGE_STEP
            grave = large and not adaptive(history.structure)
            severity = Severity.WARNING if grave else Severity.INFO
            said = _scaled(history, times)
            yield self._finding(history, "length", severity, said, times, SCALED)
        elif cosine > SIMILAR and 0 < times < SHORT and not _divided(history):
            yield self._short(history, times, scale)

    def _short(self, history: History, times: float, scale: np.ndarray) -> Finding:
        """The gradient is too short: by a constant, or by weights that examples have."""
        constant = float(np.ptp(scale)) < STEADY * times
        middle = weight_ratios(history)[1][:STEPS]
        slow = len(middle) > 0 and float(np.median(middle)) < SMALL_STEP
        grave = not constant or (slow and not adaptive(history.structure))
        severity = Severity.WARNING if grave else Severity.INFO
        said = _shortened(times, constant=constant)
        return self._finding(history, "length", severity, said, times, SHORT)

    def _rows(self, history: History) -> Iterable[Finding]:
        rows, sizes = _early(history, "gradient_rows"), known_scalar(history, "batch_size")[1]
        micro = known_scalar(history, "micro_batches")[1]
        if min(len(rows), len(sizes), len(micro)) < STEPS:
            return
        batch = float(np.median(sizes) / max(np.median(micro), 1))
        share = float(np.median(rows))
        if batch >= LEAST_BATCH and 0 < share <= FEW_ROWS and not _sure_already(history, batch):
            said = _few(round(share * batch), round(batch))
            yield self._finding(history, "examples", Severity.WARNING, said, share, FEW_ROWS)

    def _finding(
        self,
        history: History,
        where: str,
        severity: Severity,
        said: tuple[str, Cause],
        measured: float,
        threshold: float,
    ) -> Finding:
        title, cause = said
        loss = history.scalar("loss")
        return Finding(
            rule=self.name,
            where=where,
            severity=severity,
            title=title,
            causes=(cause,),
            first_step=int(loss.steps[0]) if len(loss) else None,
            last_step=history.last_step,
            count=max(len(loss), 1),
            measured=measured,
            threshold=threshold,
            plot=line_plot(loss.steps, {"loss": loss.of("loss")}),
        )


def _sure_already(history: History, batch: float) -> bool:
    """Whether most examples have no loss from the beginning, and so no gradient of themselves."""
    losses = history.batches(Group.LOSSES)
    early = [values for values in losses.values[:EARLY] if len(values) >= batch]
    return bool(early) and float((np.concatenate(early) > NO_LOSS).mean()) <= FEW_ROWS


def _early(history: History, name: str) -> np.ndarray:
    return known_scalar(history, name)[1][:EARLY]


def _negated(times: float) -> tuple[str, Cause]:
    title = (
        f"The gradient at the outputs is {number(times)} times that of the loss: the optimizer "
        "climbs the loss instead of descending it."
    )
    return title, Cause(
        name="loss-negated",
        text="What is differentiated is the loss with its sign changed.",
        fix="Take the minus away from the loss before backward(), or set maximize=False.",
        score=0.97,
        evidence="It points exactly against the gradient of the mean cross-entropy.",
        change={"loss.sign": 1},
    )


def _maximized(times: float) -> tuple[str, Cause]:
    title = (
        "The optimizer was made with maximize=True: it climbs the loss, whose gradient comes back "
        f"{number(times)} times as it should."
    )
    return title, Cause(
        name="optimizer-maximizes",
        text="The optimizer is told to make the loss larger.",
        fix="Leave maximize=True out, or differentiate the loss with a minus before it.",
        score=0.98,
        evidence="Its settings say so, and the loss is not negated.",
        change={"optimizer.maximize": False},
    )


def _scaled(history: History, times: float) -> tuple[str, Cause]:
    loss = history.structure.loss
    summed = loss is not None and loss.settings.get("reduction") == "sum"
    title = f"The gradient at the outputs is {number(times)} times that of the mean loss" + (
        ", since the loss is summed over the batch." if summed else "."
    )
    change = {"loss.reduction": "mean"} if summed else {"loss.factor": 1.0}
    return title, Cause(
        name="wrong-loss",
        text="The loss is the sum over the batch and not the mean."
        if summed
        else f"The loss is multiplied by {number(times)} before backward().",
        fix='Use reduction="mean", so that steps do not grow with the batch.'
        if summed
        else f"Leave the factor out, or divide the learning rate by {number(times)}.",
        score=0.95,
        evidence="Both point the same way; only the length differs.",
        change=change,
    )


def _divided(history: History) -> bool:
    """Whether the outputs are divided before the loss, of which `LogitsScaled` speaks."""
    loss = history.structure.loss
    return loss is not None and loss.factor is not None and abs(loss.factor - 1) > STEADY


def _shortened(times: float, *, constant: bool) -> tuple[str, Cause]:
    title = f"The gradient at the outputs is {number(times)} times that of the mean cross-entropy."
    if constant:
        return title, Cause(
            name="wrong-loss",
            text=f"The loss is multiplied by {number(times)} before backward().",
            fix=f"Leave the factor out, or multiply the learning rate by {number(1 / times)}.",
            score=0.93,
            evidence="It is the same at every step, and the direction is right.",
            change={"loss.factor": 1.0},
        )
    return title, Cause(
        name="wrong-loss",
        text="The loss gives the examples weights that leave nearly nothing of their gradients, "
        "as a focal loss does whose gamma is too large.",
        fix="Use CrossEntropyLoss, or a focal loss with gamma between 0.5 and 5.",
        score=0.93,
        evidence="How much is left differs from step to step, and the direction is about right.",
        change={"loss": "cross_entropy"},
    )


def _few(examples: int, batch: int) -> tuple[str, Cause]:
    title = (
        f"Only about {max(examples, 1)} of the {batch} examples of a batch get a gradient: the "
        "others have no part in the loss."
    )
    return title, Cause(
        name="data-cut-short",
        text="The loss is taken of a part of the batch.",
        fix="Give the loss all outputs and labels of the batch; look for an index such as "
        "outputs[0], or a mask that leaves most examples out.",
        score=0.95,
        evidence="The gradient at the outputs is exactly 0 in all other rows.",
        change={"loss.examples": None},
    )
