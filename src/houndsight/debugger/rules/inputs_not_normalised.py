"""The inputs are not scaled to what networks are made for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from houndsight.debugger.history import History
from houndsight.debugger.inputs import InputFigures, input_figures, no_images
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["InputsNotNormalised"]

LARGE = 10.0
OFFSET = 3.0
PLAIN_OFFSET = 0.9


@dataclass(frozen=True)
class _Fault:
    severity: Severity
    text: str
    fix: str
    measured: float
    threshold: float
    score: float = 0.9


class InputsNotNormalised(Rule):
    """The inputs are far from mean 0 and deviation 1: raw pixel values up to 255, or a large
    offset. The first layer's gradients are then dominated by the offset, step sizes fit no layer,
    and pretrained weights see what they were never trained on.

    Condition: the root of the mean square of the inputs is above 10, or a channel's mean is more
    than three times its standard deviation away from 0. Values from 0 to 1 that were not
    normalised are a remark: most networks learn from them.

    Source: LeCun et al., Efficient BackProp (1998), section 4.3. SageMaker's CheckInputImages
    calls any mean above 0.2 an issue.
    """

    name = "InputsNotNormalised"

    def not_applicable(self, history: History) -> str:
        """The first input must be a floating-point image."""
        if history.last_step and input_figures(history) is None:
            return no_images(history) or "The network's input was not recorded."
        return no_images(history)

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the inputs of training."""
        figures = input_figures(history)
        fault = _fault(figures) if figures else None
        if figures is None or fault is None:
            return
        yield Finding(
            rule=self.name,
            where="inputs",
            severity=fault.severity,
            title=f"The inputs are not normalised: {figures.said()}.",
            causes=(
                Cause(
                    name="inputs-not-normalised",
                    text=fault.text,
                    fix=fault.fix,
                    score=fault.score,
                    evidence=f"{figures.said().capitalize()} over {figures.batches:,} batches.",
                    change={"inputs.normalise": True},
                ),
            ),
            count=figures.batches,
            first_step=figures.first_step,
            last_step=figures.last_step,
            measured=fault.measured,
            threshold=fault.threshold,
            plot={
                "ranges": {"training": {"mean": figures.mean.tolist(), "std": figures.std.tolist()}}
            },
        )


def _fault(figures: InputFigures) -> _Fault | None:
    low, high = float(figures.low.min()), float(figures.high.max())
    offset = float((abs(figures.mean) / (figures.std + 1e-3 * figures.size + 1e-30)).max())
    if figures.size > LARGE and low >= 0:
        text = "Pixel values come as they stand in the file."
        fix = "Divide by 255, subtract the mean and divide by the standard deviation (or the "
        fix += "constants of the pretrained weights)."
        return _Fault(Severity.WARNING, text, fix, figures.size, LARGE)
    if figures.size > LARGE:
        text = "Constants for values from 0 to 1 were applied to values up to 255."
        fix = "Divide by 255 before subtracting the mean and dividing by the deviation."
        return _Fault(Severity.WARNING, text, fix, figures.size, LARGE)
    if offset > OFFSET:
        text = "The mean that is subtracted does not belong to these values."
        fix = "Compute the mean and the standard deviation of the training photos, after scaling."
        return _Fault(Severity.WARNING, text, fix, offset, OFFSET, 0.7)
    if low >= 0 and high <= 1.01 and offset > PLAIN_OFFSET:
        text = "Values from 0 to 1 are used without subtracting their mean."
        fix = "Subtract the mean and divide by the standard deviation of the training photos."
        return _Fault(Severity.INFO, text, fix, offset, PLAIN_OFFSET, 0.4)
    return None
