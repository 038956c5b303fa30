"""The network knows less than what thumbnails of the photos tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from houndsight.debugger.conditions import Evaluation, evaluations, line_plot, progress
from houndsight.debugger.examples import batches, joined, tail
from houndsight.debugger.history import History
from houndsight.debugger.optimisation import weight_ratios
from houndsight.debugger.record import Mode
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.rules.common_causes import learning_rate_too_high, learning_rate_too_low
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["BaselineNotReached"]

STEPS = 100
EVALUATIONS = 3
EXAMPLES = 100
BELOW = 0.2
GAINED = 0.03
LATE = 1 / 2
SLOW, FAST = 3e-4, 3e-2
"""Sizes of the usual step below and above which the learning rate is the first to look at."""
PLAIN = {
    "linear_accuracy": "linear discriminant analysis",
    "neighbour_accuracy": "the nearest neighbour",
}


class BaselineNotReached(Rule):
    """A classifier without any depth, shown thumbnails of 8 x 8 pixels of the very photos that the
    network was trained on, is right far more often than the network, and the network no longer
    gets better. Whatever is wrong is between the photos and the loss: the photos and labels
    themselves can be learnt.

    Condition, after 100 steps and three evaluations of 100 labels or more: the best of all
    evaluations is 20 points below what linear discriminant analysis or the nearest neighbour gets
    of the same photos, fitted to at most 2,048 training photos, and the later half of the
    evaluations are no more than 3 points better than the best before. Without the last it is a
    remark.

    Source: ours. Friedman, Regularized Discriminant Analysis (1989); Cover and Hart, Nearest
    neighbor pattern classification (1967). To set a network beside a plain model is the first
    advice of Zinkevich, Rules of Machine Learning (rule 4), and Karpathy, A Recipe for Training
    Neural Networks.
    """

    name = "BaselineNotReached"

    def not_applicable(self, history: History) -> str:
        """Photos and labels of an evaluation are needed."""
        if history.ended and _plain(history) is None:
            return "No evaluation had photos and labels, and 256 labelled photos before it."
        return ""

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding for the network."""
        plain = _plain(history)
        asked = [
            one
            for one in evaluations(history)
            if one.examples >= EXAMPLES and np.isfinite(one.accuracy)
        ]
        if plain is None or len(asked) < EVALUATIONS or asked[-1].step < STEPS:
            return []
        best = max(one.accuracy for one in asked)
        if best > plain.accuracy - BELOW:
            return []
        return [self._finding(history, plain, asked, best)]

    def _finding(
        self, history: History, plain: _Plain, asked: list[Evaluation], best: float
    ) -> Finding:
        still = _still_better(asked)
        return Finding(
            rule=self.name,
            where="evaluation",
            severity=Severity.INFO if still else Severity.WARNING,
            title=(
                f"{plain.what.capitalize()} on 8 x 8 thumbnails gets {plain.accuracy:.0%} of "
                f"evaluation right, the network {best:.0%} at best"
                + (", and it still gets better." if still else ".")
            ),
            causes=_causes(history, best),
            count=len(asked),
            first_step=asked[0].step,
            last_step=asked[-1].step,
            measured=plain.accuracy - best,
            threshold=BELOW,
            plot=line_plot(
                np.array([one.step for one in asked]),
                {"network": np.array([one.accuracy for one in asked])},
                y_label="accuracy",
                threshold=plain.accuracy,
            ),
        )


@dataclass(frozen=True)
class _Plain:
    """The better of the two, at the last evaluation that has it."""

    what: str
    accuracy: float


def _plain(history: History) -> _Plain | None:
    found = [
        _Plain(what, accuracy)
        for name, what in PLAIN.items()
        if (accuracy := _last(history, name)) is not None
    ]
    return max(found, key=lambda plain: plain.accuracy) if found else None


def _last(history: History, name: str) -> float | None:
    """Mean over the batches of the last evaluation that has it."""
    series = history.scalar(name, Mode.EVAL)
    values = series.of(name)
    known = np.isfinite(values)
    if not known.any():
        return None
    steps = series.steps[known]
    return float(values[known][steps == steps[-1]].mean())


def _still_better(asked: list[Evaluation]) -> bool:
    """Whether the later evaluations are better than those before."""
    middle = max(int(len(asked) * LATE), 1)
    before = max(one.accuracy for one in asked[:middle])
    return max(one.accuracy for one in asked[middle:]) > before + GAINED


def _causes(history: History, best: float) -> tuple[Cause, ...]:
    """What the training itself says of where it is lost, and that it may be elsewhere."""
    did = progress(history)
    fallen = "" if did is None else f"The training loss has fallen by {did.fallen:.0%}. "
    seen = [batch for batch in batches(history) if batch.judged]
    trained = joined(tail(seen, 0.2, 3)).accuracy
    if trained > best + BELOW:
        evidence = f"{fallen}Of its training photos the network gets {trained:.0%} right."
        return (_evaluation_differs(evidence), _unknown(fallen))
    middle = weight_ratios(history)[1]
    usual = float(np.nanmedian(middle)) if len(middle) else float("nan")
    evidence = f"{fallen}A step changes the median weight by {number(usual)} of its length."
    if usual < SLOW:
        return (learning_rate_too_low(history, evidence, 0.5), _unknown(fallen))
    if usual > FAST:
        return (learning_rate_too_high(history, evidence, 0.5), _unknown(fallen))
    return (_unknown(fallen),)


def _evaluation_differs(evidence: str) -> Cause:
    return Cause(
        name="preprocessing-differs",
        text="The network knows its training photos and not evaluation's: those are prepared, "
        "labelled or asked for in another way, or were learnt by heart.",
        fix="Read and prepare photos for evaluation by the function that training uses; then "
        "augment more.",
        score=0.4,
        evidence=evidence,
        change={"evaluation.preprocessing": "training.preprocessing"},
    )


def _unknown(evidence: str) -> Cause:
    return Cause(
        name="network-learns-nothing",
        text="Something between the photos and the loss keeps the network from learning what is "
        "easy to see in them.",
        fix="Have houndsight doctor overfit a single batch: if that fails, look at the loss, the "
        "layers and the optimizer; if it works, at augmentation and regularisation.",
        score=0.3,
        evidence=evidence.strip(),
    )
