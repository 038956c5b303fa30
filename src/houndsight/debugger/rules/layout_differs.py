"""Photos of evaluation that are blurred, grey, turned or torn otherwise than those of training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from houndsight.debugger.examples import batches, joined, passes, tail
from houndsight.debugger.history import History
from houndsight.debugger.inputs import no_images
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["LayoutDiffers"]

BATCHES = 5
EXAMPLES = 64
ERRORS, TOGETHER, GAP = 6.0, 3.0, 0.15
NOISE = 0.4
PHOTOGRAPHIC, FLATTER = 0.4, 0.95
MODES = (Mode.TRAIN, Mode.EVAL)
REPEATED = 0.7


@dataclass(frozen=True)
class _Figure:
    statistic: Statistic
    said: str
    plain: float
    """How far apart it may be where nothing augments: as a ratio, or as a difference."""
    augmented: float
    """And where something does; 0: not judged."""
    ratio: bool
    poorer: str
    """What it means that training has less of it, where evaluation's is that of photos."""
    higher: str
    """What it means that evaluation has more of it."""
    lower: str


FIGURES = (
    _Figure(
        Statistic.ROUGHNESS,
        "difference of neighbouring pixels",
        1.25,
        4.0,
        True,
        "Training's photos are blurred, or small crops of them enlarged.",
        "Evaluation's photos are torn up (a reshape instead of a permute) or noisy.",
        "Evaluation's photos are blurred: enlarged from smaller ones, or resized otherwise.",
    ),
    _Figure(
        Statistic.COLOUR,
        "difference of the colour channels",
        1.5,
        8.0,
        True,
        "Training's photos are made grey.",
        "Evaluation's channels do not belong together (a reshape instead of a permute).",
        "Evaluation's photos are grey.",
    ),
    _Figure(
        Statistic.TILT,
        "brightness from top to bottom",
        0.1,
        0.0,
        False,
        "",
        "Evaluation's photos are turned or cut otherwise.",
        "Evaluation's photos are turned or cut otherwise.",
    ),
    _Figure(
        Statistic.LEAN,
        "brightness from left to right",
        0.1,
        0.0,
        False,
        "",
        "Evaluation's photos are turned or mirrored.",
        "Evaluation's photos are turned or mirrored.",
    ),
)
LEAST = 0.02
"""Differences of pixels below this share of the variance are those of flat or grey photos."""


class LayoutDiffers(Rule):
    """Evaluation's photos have the brightness and contrast of training's but another make: they
    are blurred, noisy, grey, turned, or their pixels are in another order.

    Condition, over five training batches and 64 examples of each: beyond six standard errors, by
    how the figure differs from batch to batch, the mean square difference of neighbouring pixels
    differs by 1.25 times, or that of the colour channels by 1.5 times, or the correlation of
    brightness with height or width by 0.1; three standard errors are enough where evaluation is
    also right 15 points less often than training. Where training photos are augmented (they do not
    come back unchanged), 4 and 8 times, and turning is not judged; but when noise makes up 40 %
    more of the variance in training than in evaluation, augmentation is to blame.

    Source: ours; the variogram at distance one (Matheron, 1963).
    """

    name = "LayoutDiffers"

    def not_applicable(self, history: History) -> str:
        """Only photos have neighbours."""
        return no_images(history)

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the figure that is furthest apart."""
        plain = _repeat(history)
        if not plain and (noise := _noise(history)):
            return [noise]
        found = [f for f in (_compared(history, figure, plain) for figure in FIGURES) if f]
        return sorted(found, key=lambda f: -(f.measured or 0.0) / (f.threshold or 1.0))[:1]


def _repeat(history: History) -> bool:
    """Whether training photos come back unchanged."""
    marks = history.batches(*_MARKS).together()
    return len(marks) > 0 and len(np.unique(marks)) < REPEATED * len(marks)


def _compared(history: History, figure: _Figure, plain: bool) -> Finding | None:
    limit = figure.plain if plain else figure.augmented
    trained = history.series(Group.INPUTS, figure.statistic)
    asked = history.series(Group.INPUTS, figure.statistic, Mode.EVAL)
    counts = [_examples(history, mode) for mode in (Mode.TRAIN, Mode.EVAL)]
    if not limit or len(trained) < BATCHES or not len(asked) or min(counts) < EXAMPLES:
        return None
    own, other = trained.of("image"), asked.of("image")
    own, other = own[np.isfinite(own)], other[np.isfinite(other)]
    sizes = [len(values) for values in history.batches(*_MARKS).values]
    if len(own) < BATCHES or not len(other) or not sizes:
        return None
    here, there = float(own.mean()), float(other.mean())
    # Between batches of so many examples it differs by so much; a mean of all differs by less.
    single = float(own.std()) * np.sqrt(float(np.median(sizes)))
    error = single * np.sqrt(1 / counts[0] + 1 / counts[1])
    if abs(here - there) < (TOGETHER if _worse(history) else ERRORS) * error:
        return None
    measured = abs(here - there)
    if figure.ratio:
        measured = max(here, there, LEAST) / max(min(here, there), LEAST)
    if measured <= limit:
        return None
    return _finding(history, figure, here, there, measured, limit)


def _worse(history: History) -> bool:
    """Whether evaluation is far less often right than training of late."""
    asked = [one for one in passes(history) if one.judged]
    trained = [batch for batch in batches(history) if batch.judged]
    if not asked or not trained:
        return False
    return joined(tail(trained, 0.2)).accuracy - asked[-1].accuracy > GAP


def _noise(history: History) -> Finding | None:
    """Training photos that are mostly noise, which evaluation's have not."""
    rough = [_level(history, Statistic.ROUGHNESS, mode) for mode in MODES]
    spread = [_level(history, Statistic.STD, mode) for mode in MODES]
    if min(rough[0], spread[0], spread[1]) <= 0:
        return None
    added = rough[0] - rough[1] * min(spread[1] / spread[0], 1.0) ** 2
    if not added > NOISE or spread[0] < spread[1]:
        return None
    steps = history.series(Group.INPUTS, Statistic.ROUGHNESS).steps
    return Finding(
        rule=LayoutDiffers.name,
        where="training",
        severity=Severity.WARNING,
        title=f"About {added:.0%} of what training photos show is noise, unlike evaluation's.",
        causes=(
            Cause(
                name="augmentation-too-strong",
                text="Augmentation drowns the training photos in noise.",
                fix="Augment less: look at a batch of augmented photos, and keep what a person "
                "still recognises.",
                score=0.95,
                evidence=f"Neighbouring pixels differ by {number(rough[0])} in training and "
                f"{number(rough[1])} in evaluation, where 1 is pure noise.",
                change={"augmentation": "none"},
            ),
        ),
        count=len(steps),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        measured=added,
        threshold=NOISE,
        plot={"bars": rough, "of": "difference of neighbouring pixels"},
    )


def _level(history: History, statistic: Statistic, mode: Mode) -> float:
    """Mean of a figure of the inputs; 0 where it is unknown."""
    values = history.series(Group.INPUTS, statistic, mode).values
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


_MARKS = (Group.EXAMPLES, Statistic.FINGERPRINT)


def _examples(history: History, mode: Mode) -> int:
    """Different ones, since an evaluation that is repeated says nothing new."""
    return len(np.unique(history.batches(*_MARKS, mode).together()))


def _causes(history: History, figure: _Figure, here: float, there: float) -> tuple[Cause, ...]:
    """The side that lost something is to blame: blurred photos tell less than sharp ones."""
    evidence = "Brightness and contrast alone would not show it."
    spread = [_level(history, Statistic.STD, mode) for mode in MODES]
    # Blurring takes contrast; enlarged crops keep it, and are never the same twice.
    lost = spread[0] < FLATTER * spread[1] or not _repeat(history)
    damaged = bool(figure.poorer) and here < there < PHOTOGRAPHIC and lost
    differs = Cause(
        name="preprocessing-differs",
        text=figure.higher if there > here else figure.lower,
        fix="Read, resize and arrange photos for evaluation by the function that training "
        "uses, and leave out only the random augmentation.",
        score=0.5 if damaged else 0.94,
        evidence=evidence,
        change={"evaluation.preprocessing": "training.preprocessing"},
    )
    if not damaged:
        return (differs,)
    strong = Cause(
        name="augmentation-too-strong",
        text=figure.poorer,
        fix="Augment less, and look at a batch of training photos as the network gets them.",
        score=0.93,
        evidence=f"Of evaluation the {figure.said} is {number(there)}, which is usual for photos.",
        change={"augmentation": "none"},
    )
    return (strong, differs)


def _finding(
    history: History, figure: _Figure, here: float, there: float, measured: float, limit: float
) -> Finding:
    steps = history.series(Group.INPUTS, figure.statistic, Mode.EVAL).steps
    return Finding(
        rule=LayoutDiffers.name,
        where="evaluation",
        severity=Severity.WARNING,
        title=(
            f"Evaluation's photos are made otherwise than training's: the {figure.said} is "
            f"{number(there)} where training has {number(here)}."
        ),
        causes=_causes(history, figure, here, there),
        count=len(steps),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        measured=measured,
        threshold=limit,
        plot={"bars": [here, there], "of": f"{figure.said}, in training and in evaluation"},
    )
