"""The inputs went through the same scaling or normalisation two times."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.history import History
from houndsight.debugger.inputs import Floats, InputFigures, input_figures, no_images
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["InputsNormalisedTwice"]

CONSTANTS = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "one half": ((0.5,), (0.5,)),
    "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "MNIST's": ((0.1307,), (0.3081,)),
    "FashionMNIST's": ((0.286,), (0.353,)),
}
TOLERANCE = 0.06
"""Of the range: photos need not reach black and white in every channel."""
OWN_TOLERANCE = 0.12
LEAST_SPREAD = 1.6
TINY = 1 / 128


class InputsNormalisedTwice(Rule):
    """The inputs were normalised, or divided by 255, two times: by the data set and again in the
    training, or in the photos' reader and again by `ToTensor`. What the network sees is shifted
    and stretched, or nearly constant.

    Condition: the lowest and highest values of every channel are, to 6 % of their range, those
    that black and white have after subtracting a mean m and dividing by a deviation s twice:
    -m / s^2 - m / s and (1 - m) / s^2 - m / s, for the constants in common use; or, to 12 %, for
    the m and s that follow from the inputs' own figures (a mean of -m / s and a deviation of
    1 / s). Or no value is above 1/128 while none is negative; or every deviation is below 1/64
    with a mean below -0.3: divided by 255 twice, without and with a normalisation after it.

    Source: arithmetic on the range 0 to 1.
    """

    name = "InputsNormalisedTwice"

    def not_applicable(self, history: History) -> str:
        """Where the inputs are no photos."""
        return no_images(history)

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the inputs of training."""
        figures = input_figures(history)
        if figures is None:
            return
        constants = _constants(figures)
        scaled = _divided(figures)
        if not constants and not scaled:
            return
        what = "divided by 255" if scaled else "normalised"
        text = f"The photos are {what} two times"
        yield Finding(
            rule=self.name,
            where="inputs",
            severity=Severity.WARNING,
            title=f"The inputs seem to be {what} twice: {figures.said()}.",
            causes=(
                Cause(
                    name="inputs-normalised-twice",
                    text=f"{text}{'' if scaled else f', with {constants} constants'}.",
                    fix=(
                        "Divide by 255 once: ToTensor and v2.ToDtype(scale=True) do it already."
                        if scaled
                        else "Normalise once, in the data set or in the training, not in both."
                    ),
                    score=0.9,
                    evidence=f"{figures.said().capitalize()} over {figures.batches:,} batches.",
                    change={"remove": "second normalisation"},
                ),
            ),
            count=figures.batches,
            first_step=figures.first_step,
            last_step=figures.last_step,
            measured=float(figures.std.mean()),
            threshold=LEAST_SPREAD,
            plot={
                "ranges": {"training": {"mean": figures.mean.tolist(), "std": figures.std.tolist()}}
            },
        )


def _divided(figures: InputFigures) -> bool:
    low, high = float(figures.low.min()), float(figures.high.max())
    plain = low >= 0 and 0 < high < TINY
    shifted = bool((figures.std < 2 * TINY).all() and (figures.mean < -0.3).all())
    return plain or (shifted and high - low > 0)


def _constants(figures: InputFigures) -> str:
    """Whose constants, applied twice, explain the range; empty when none do."""
    for name, (means, deviations) in CONSTANTS.items():
        if len(means) not in (1, len(figures.mean)):
            continue
        if (
            _explains(figures, np.array(means), np.array(deviations))
            and (figures.mean < -0.2).all()
        ):
            return name
    spread = np.maximum(figures.std, 1e-12)
    own = bool((spread > LEAST_SPREAD).all() and (figures.mean < -0.2).all())
    return (
        "its own"
        if own and _explains(figures, -figures.mean / spread, 1 / spread, OWN_TOLERANCE)
        else ""
    )


def _explains(
    figures: InputFigures, mean: Floats, deviation: Floats, tolerance: float = TOLERANCE
) -> bool:
    black = -mean / deviation**2 - mean / deviation
    white = (1 - mean) / deviation**2 - mean / deviation
    allowed = tolerance * (white - black)
    near = (abs(figures.low - black) < allowed) & (abs(figures.high - white) < allowed)
    return bool(near.all())
