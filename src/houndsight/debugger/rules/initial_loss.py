"""The first loss is not that of a network that knows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import head_makes_outputs, training_loss, uniform_loss
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["InitialLoss"]

EXCESS_FACTOR, EXCESS_NATS = 1.25, 1.0
SHORT_FACTOR = 0.5
LARGE_LOGITS = 5.0
RECOVERED = 10


class InitialLoss(Rule):
    """The loss of the first batch is far from that of a network that finds all classes alike.

    Condition: the first training loss exceeds 1.25 ln(classes) + 1 by more than three standard
    errors of the batch (a warning), where classes is the width of the logits; or it is below
    half of ln(classes), which is right for a network that continues a training (a remark). Label
    smoothing and class weights leave ln(classes) as it is, a batch of one class or imbalanced
    classes too, as long as the network knows nothing of them; random logits of standard deviation
    s add s^2 / 2, which is what the excess allows for. Only for a loss that is a single mean of
    cross-entropies, at the first recorded step 0. Where the last layer makes features and no
    outputs, as before cosines with a scale, whose loss begins high by design, it is a remark; and
    where the loss is at ln(classes) within ten steps, as with a new head on large features.

    Source: TheDeepChecker (TOSEM 2022); Karpathy, A Recipe for Training Neural Networks (2019).
    """

    name = "InitialLoss"

    def not_applicable(self, history: History) -> str:
        """The loss has to be known."""
        if uniform_loss(history.structure) is None:
            return "The loss is not a mean cross-entropy, so its value at the start is unknown."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the training."""
        loss, expected = training_loss(history), uniform_loss(history.structure)
        if expected is None or not len(loss) or loss.steps[0] != 0:
            return []
        first = float(loss.values[0, 0])
        error = _standard_error(history)
        high = EXCESS_FACTOR * expected + EXCESS_NATS
        low = SHORT_FACTOR * expected
        if not math.isfinite(first) or low - 3 * error <= first <= high + 3 * error:
            return []
        above = first > high
        known = f"a network that knows nothing has {number(expected)}"
        return [
            Finding(
                rule=self.name,
                where="",
                severity=Severity.WARNING
                if above
                and head_makes_outputs(history.structure)
                and not _recovers(loss.of("loss"), expected)
                else Severity.INFO,
                title=(
                    f"The first batch's loss is {number(first)}, where {known}: "
                    + (
                        "the network is sure of wrong answers before it has learnt any."
                        if above
                        else "the network knows the answers before the first step."
                    )
                ),
                causes=_too_high(history) if above else _too_low(first),
                first_step=0,
                last_step=0,
                measured=first,
                threshold=high if above else low,
                plot=line_plot(
                    loss.steps, {"loss": loss.of("loss")}, y_label="loss", threshold=expected
                ),
            )
        ]


def _recovers(losses: np.ndarray, expected: float) -> bool:
    """Whether the mean of three steps is soon no more than that of a network that knows nothing."""
    early = losses[: RECOVERED + 2]
    means = np.convolve(early, np.full(3, 1 / 3), "valid") if len(early) >= 3 else early[:0]
    return bool((means <= expected).any())


def _standard_error(history: History) -> float:
    """Of the first batch's mean loss; 0 where the loss of its examples is not known."""
    batches = history.batches(Group.LOSSES)
    if not len(batches) or batches.steps[0] != 0 or len(batches.values[0]) < 2:
        return 0.0
    values = np.asarray(batches.values[0], float)
    error = float(np.std(values)) / math.sqrt(len(values))
    return error if math.isfinite(error) else 0.0


def _too_high(history: History) -> tuple[Cause, ...]:
    low = history.series(Group.LOGITS, Statistic.MINIMUM)
    high = history.series(Group.LOGITS, Statistic.MAXIMUM)
    span = float(high.values[0, 0] - low.values[0, 0]) if len(low) and len(high) else math.nan
    inputs = history.series(Group.INPUTS, Statistic.STD)
    spread = float(np.nanmean(inputs.values[0])) if len(inputs) else math.nan
    large = math.isfinite(spread) and spread > LARGE_LOGITS
    head = history.structure.head or "the head"
    drawn = Cause(
        name="poor-initialisation",
        text=f"The weights of {head}, or of the layers before it, are drawn too large.",
        fix=f"Leave PyTorch's own initialisation of {head}, with a bias of 0, or scale it down.",
        score=0.5 if large else 0.75,
        evidence=(
            f"The first logits span {number(span)}; below 2 is usual."
            if math.isfinite(span)
            else ""
        ),
        change={"initialisation": "default"},
    )
    scale = Cause(
        name="inputs-not-normalised",
        text="The inputs are far larger than what the weights are drawn for.",
        fix="Normalise the inputs to mean 0 and standard deviation 1 a channel.",
        score=0.8 if large else 0.3,
        evidence=(
            f"The first batch's standard deviation is {number(spread)}."
            if math.isfinite(spread)
            else ""
        ),
        change={"normalise": True},
    )
    foreign = Cause(
        name="head-size-wrong",
        text="The head was trained for other classes, or classes stand in another order.",
        fix="Replace the head by a new one for these classes.",
        score=0.3,
        change={"head": "new"},
    )
    return tuple(sorted((drawn, scale, foreign), key=lambda cause: -cause.score))


def _too_low(first: float) -> tuple[Cause, ...]:
    if first < 0:
        return (
            Cause(
                name="wrong-loss",
                text="A cross-entropy cannot be negative: the loss got logits for probabilities.",
                fix="Give raw logits to CrossEntropyLoss, or log_softmax of them to NLLLoss.",
                score=0.9,
                evidence=f"The first loss is {number(first)}.",
                change={"loss": "cross_entropy"},
            ),
        )
    return (
        Cause(
            name="continued-training",
            text="The network was trained on these classes before; then all is well.",
            fix="Nothing, if the training continues an earlier one.",
            score=0.7,
        ),
        Cause(
            name="leakage",
            text="The answer is contained in the input.",
            fix="Look for labels in file names, borders or masks that the network sees.",
            score=0.2,
        ),
    )
