"""Inputs that are not on the scale that networks are made for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import figure, line_plot, number
from houndsight.debugger.history import History, Series
from houndsight.debugger.inputs import no_images
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Parameter, Rule
from houndsight.debugger.rules.common_causes import NORMS
from houndsight.findings import Cause, Finding, Severity

__all__ = ["CheckInputImages"]

CHANNELS = (1, 3, 4)
LEAST_EXAMPLES = 32
Floats = npt.NDArray[np.float64]
RAW, VANISHED, STRETCHED, OFF_CENTRE = 20.0, 0.02, 3.0, 0.5


class CheckInputImages(Rule):
    """The images that go into the network are not normalised, or normalised more than once.

    Condition, once 32 images are seen: values beyond 20 in either direction, as of bytes that
    were never divided (a warning, or a remark where the first weights are followed by
    normalisation and trained from scratch, which makes up for it); all values within 0.02 of 0
    and a standard deviation under 0.01, as of bytes divided twice (a warning); or a standard
    deviation over 3, beyond what one normalisation of values between 0 and 1 can give with the
    usual figures (a warning). A mean beyond 0.5 alone is a remark: photos may be dark or bright.

    With `threshold_mean` set, after `threshold_samples` images: the mean of some channel is
    beyond that, in either direction. Channels are recorded one by one, so `channel`, the axis
    they lie on, has no effect; the input is the root module's first.

    Source: SageMaker Debugger, whose default of 0.2 needs a mean of nearly 0.
    """

    name = "CheckInputImages"
    sagemaker = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "threshold_mean": Parameter(float, 0.2, "How far from 0 a channel's mean may be."),
        "threshold_samples": Parameter(int, 500, "Images to wait for."),
        "regex": Parameter(
            str, ".*hybridsequential0_input_0", "Accepted; the input is the root module's first."
        ),
        "channel": Parameter(int, 1, "Accepted; channels are recorded one by one."),
    }

    def not_applicable(self, history: History) -> str:
        """Where the inputs are no images, such as features of a frozen backbone."""
        names = history.series(Group.INPUTS, Statistic.MEAN).names
        if names and len(names) not in CHANNELS:
            return f"The inputs have {len(names)} channels: they are no images."
        return no_images(history)

    def evaluate(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        means = history.series(Group.INPUTS, Statistic.MEAN)
        needed = self.value("threshold_samples") if self.given else LEAST_EXAMPLES
        if not len(means) or _seen(history) < needed:
            return []
        if self.given:
            worst = _average(means)
            column = int(np.nanargmax(np.abs(worst))) if np.isfinite(worst).any() else -1
            limit = self.value("threshold_mean")
            if column < 0 or not abs(worst[column]) > limit:
                return []
            title = f"Channel {means.names[column]} has a mean of {number(worst[column])}."
            return [self._finding(means, title, abs(worst[column]), limit)]
        found = self._scale(history, means)
        return [found] if found else []

    def _scale(self, history: History, means: Series) -> Finding | None:
        std = _average(history.series(Group.INPUTS, Statistic.STD))
        lowest = history.series(Group.INPUTS, Statistic.MINIMUM).values
        highest = history.series(Group.INPUTS, Statistic.MAXIMUM).values
        reach = float(np.nanmedian(_furthest(lowest, highest))) if len(lowest) else np.nan
        spread = float(np.nanmax(std)) if np.isfinite(std).any() else np.nan
        if reach > RAW:
            severity = Severity.INFO if _made_up_for(history) else Severity.WARNING
            title = f"The inputs reach {number(reach)}: they are not scaled to a few units."
            return self._finding(means, title, reach, RAW, severity)
        if 0 < reach < VANISHED and spread < VANISHED / 2:
            title = f"The inputs lie within {number(reach)} of 0: they were divided twice."
            return self._finding(means, title, reach, VANISHED, twice=True)
        if spread > STRETCHED:
            title = f"A channel of the inputs has a standard deviation of {number(spread)}."
            return self._finding(means, title, spread, STRETCHED, twice=True)
        mean = float(np.nanmax(np.abs(_average(means)), initial=0.0))
        if mean > OFF_CENTRE:
            title = f"A channel of the inputs has a mean of {number(mean)}, off the usual 0."
            return self._finding(means, title, mean, OFF_CENTRE, Severity.INFO)
        return None

    def _finding(
        self,
        means: Series,
        title: str,
        measured: float,
        threshold: float,
        severity: Severity = Severity.WARNING,
        *,
        twice: bool = False,
    ) -> Finding:
        once = Cause(
            name="inputs-not-normalised",
            text="The photos are not normalised before they go into the network.",
            fix="Divide by 255, subtract the mean and divide by the standard deviation: "
            "transforms.ToTensor() and transforms.Normalize(mean, std) of the pretrained weights.",
            evidence=title,
            score=0.4 if twice else 0.8,
            change={"normalise": True},
        )
        again = Cause(
            name="inputs-normalised-twice",
            text="The photos are normalised or divided by 255 twice.",
            fix="Keep one of the two: ToTensor() divides by 255 already, and some models "
            "normalise inside.",
            evidence=title,
            score=0.8 if twice else 0.1,
            change={"remove": "normalise"},
        )
        lines = {f"channel {name}": means.of(name) for name in means.names}
        return Finding(
            rule=self.name,
            where="inputs",
            severity=severity,
            title=title,
            count=len(means),
            first_step=int(means.steps[0]),
            last_step=int(means.steps[-1]),
            measured=figure(measured),
            threshold=threshold,
            causes=(again, once) if twice else (once, again) if severity != "info" else (once,),
            plot=line_plot(means.steps, lines, y_label="mean of the channel"),
        )


def _average(series: Series) -> Floats:
    """(channels,) median over the steps; NaN where nothing is finite."""
    finite = np.where(np.isfinite(series.values), series.values, np.nan)
    known = np.isfinite(finite).any(axis=0)
    result = np.full(finite.shape[1], np.nan)
    result[known] = np.nanmedian(finite[:, known], axis=0)
    return result


def _furthest(low: Floats, high: Floats) -> Floats:
    """(n,) largest distance from 0 of each batch; NaN where it is not finite."""
    both = np.concatenate([np.abs(low), np.abs(high)], axis=1)
    furthest = both.max(axis=1)
    return np.where(np.isfinite(furthest), furthest, np.nan)


def _seen(history: History) -> float:
    """Images so far; a step whose batch size is unknown counts as one."""
    sizes = history.scalar("batch_size", Mode.TRAIN).of("batch_size")
    return float(max(np.nansum(sizes), len(history.series(Group.INPUTS, Statistic.MEAN))))


def _made_up_for(history: History) -> bool:
    """Whether the first layer with weights is trained and normalisation comes right after it."""
    modules = history.structure.in_order()
    trained = {p.module for p in history.structure.learnable()}
    for module, after in itertools.pairwise(modules):
        if any(p.module == module.name for p in history.structure.parameters):
            follows = any(norm in after.kind for norm in NORMS)
            return follows and module.name in trained
    return False
