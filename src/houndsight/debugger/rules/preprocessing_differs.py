"""Evaluation sees photos that were prepared in another way than those of training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import shares
from houndsight.debugger.history import History
from houndsight.debugger.inputs import (
    InputFigures,
    example_count,
    input_figures,
    no_images,
)
from houndsight.debugger.record import Group, Mode, Statistic
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["PreprocessingDiffers"]

SHIFT = 0.5
SCALE = 1.7
PLAIN_SHIFT = 0.25
PLAIN_SCALE = 1.25
REPEATED = 0.7
EXAMPLES = 48
RANGE, BATCHES = 1 / 3, 2
SWAP_SHARE = 0.2
SWAP_SHIFT = 0.1
SWAP_ERRORS = 5.0
OTHER_MIX = 0.15


class PreprocessingDiffers(Rule):
    """Evaluation gets photos that are scaled, normalised or ordered in their colours otherwise
    than in training, so that the network is asked about something it has never seen and its
    measured accuracy says nothing.

    Condition: over at least 48 examples of each, the means of a channel are more than half a
    standard deviation apart, or the standard deviations differ by more than 1.7 times: more than
    jitter, erasing, padding and mixup do. Where photos come back unchanged in training, so that
    nothing augments them, and show the same classes as evaluation's, a quarter of a deviation or
    1.25 times is enough. Where it is training's photos that vary more and come in ever new
    versions, their augmentation is what goes too far. Or, where photos come back unchanged, the
    largest or the smallest value of most of evaluation's batches lies a third of a deviation beyond
    any that training ever had, in all channels. Or the channels' means and deviations fit those of
    training five times better in another order, where the difference is at least five standard
    errors and a tenth of a deviation (red and blue exchanged).

    Source: 22 of 101 read scripts normalise in training and not in inference; bounds measured on
    healthy trainings with strong augmentation.
    """

    name = "PreprocessingDiffers"

    def not_applicable(self, history: History) -> str:
        """There must be an evaluation to compare with."""
        if history.ended and input_figures(history, _mode(history)) is None:
            return no_images(history) or "No evaluation was recorded."
        return no_images(history)

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for evaluation as a whole."""
        mode = _mode(history)
        trained, asked = input_figures(history), input_figures(history, mode)
        if trained is None or asked is None or len(trained.mean) != len(asked.mean):
            return
        if min(example_count(history), example_count(history, mode)) < EXAMPLES:
            return
        shift, scale = _apart(trained, asked)
        alike = _plain(history) and not _other_classes(history)
        bounds = (PLAIN_SHIFT, PLAIN_SCALE) if alike else (SHIFT, SCALE)
        if shift > bounds[0] or scale > bounds[1]:
            wider = not _plain(history) and scale > bounds[1] and shift <= bounds[0]
            wider = wider and bool((trained.std > asked.std).all())
            cause = _augmented(trained, asked) if wider else _differences(trained, asked)
            yield _finding(trained, asked, (shift, scale), bounds, cause)
            return
        if alike and _beyond(history, mode, trained):
            yield _finding(trained, asked, (shift, scale), bounds, _out_of_range(trained, asked))
            return
        order = _order(trained, asked)
        if order:
            text = "The colour channels come in another order (RGB and BGR)."
            cause = Cause(
                name="preprocessing-differs",
                text=text,
                fix="Read photos for training and for evaluation with the same function.",
                score=0.9,
                evidence=f"Channels {order} of evaluation fit channels 0, 1, 2 of training.",
                change={"evaluation.preprocessing": "training.preprocessing"},
            )
            yield _finding(trained, asked, (shift, scale), bounds, cause)


def _plain(history: History) -> bool:
    """Whether photos come back unchanged in training, so that there is no augmentation."""
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT).together()
    return len(marks) > 0 and len(np.unique(marks)) < REPEATED * len(marks)


def _other_classes(history: History) -> bool:
    """Whether evaluation has another mix of classes, and so other photos."""
    labels = [history.batches(Group.LABELS, mode=m).together() for m in (Mode.TRAIN, Mode.EVAL)]
    if not all(len(one) for one in labels):
        return False
    width = int(max(one.max() for one in labels)) + 1
    mixes = [shares(one.astype(np.int64), width) for one in labels]
    return float(np.abs(mixes[0] - mixes[1]).sum()) / 2 > OTHER_MIX


def _mode(history: History) -> Mode:
    return Mode.EVAL if input_figures(history, Mode.EVAL) else Mode.PREDICT


def _apart(trained: InputFigures, asked: InputFigures) -> tuple[float, float]:
    """Largest shift of a mean in deviations, largest ratio of deviations, over the channels."""
    tiny = 1e-6 * max(trained.size, asked.size, 1e-30)
    deviation = np.sqrt((trained.std**2 + asked.std**2) / 2) + tiny
    ratio = (asked.std + tiny) / (trained.std + tiny)
    shift = float((np.abs(trained.mean - asked.mean) / deviation).max())
    return shift, float(np.maximum(ratio, 1 / ratio).max())


def _beyond(history: History, mode: Mode, trained: InputFigures) -> bool:
    """Whether most batches of a mode have values that no batch of training had."""
    low, high = (
        history.series(Group.INPUTS, statistic, mode).values
        for statistic in (Statistic.MINIMUM, Statistic.MAXIMUM)
    )
    if not len(low) == len(high) >= BATCHES or low.shape[1] != len(trained.low):
        return False
    room = RANGE * trained.std
    above = np.median(high, axis=0) > trained.high + room
    below = np.median(low, axis=0) < trained.low - room
    return bool(above.all() or below.all())


def _out_of_range(trained: InputFigures, asked: InputFigures) -> Cause:
    return Cause(
        name="preprocessing-differs",
        text="Evaluation's photos have values that training's never reach: they are augmented, or "
        "scaled otherwise.",
        fix="Give evaluation the plain transform (resize, crop, normalise) and training the "
        "augmenting one; look whether the two are exchanged.",
        score=0.85,
        evidence=f"Training: {trained.said()}. Evaluation: {asked.said()}.",
        change={"evaluation.preprocessing": "training.preprocessing"},
    )


def _order(trained: InputFigures, asked: InputFigures) -> tuple[int, ...]:
    """The other order of three channels that fits far better; empty when theirs does."""
    if len(trained.mean) != 3 or min(trained.std.min(), asked.std.min()) <= 0:
        return ()

    def distance(order: tuple[int, ...]) -> float:
        chosen = list(order)
        means = (trained.mean - asked.mean[chosen]) / trained.std
        return float(np.hypot(means, np.log(trained.std / asked.std[chosen])).sum())

    same = distance((0, 1, 2))
    best = min(itertools.permutations(range(3)), key=distance)
    errors = np.abs(trained.mean - asked.mean) / np.maximum(
        np.hypot(trained.error, asked.error), 1e-12
    )
    shift = float((np.abs(trained.mean - asked.mean) / trained.std).max())
    clear = shift > SWAP_SHIFT and errors.max() > SWAP_ERRORS
    return best if clear and distance(best) < SWAP_SHARE * same else ()


def _augmented(trained: InputFigures, asked: InputFigures) -> Cause:
    return Cause(
        name="augmentation-too-strong",
        text="Augmentation changes the training photos so much that they no longer look like those "
        "of evaluation.",
        fix="Augment less: look at a batch of augmented photos, and keep what a person still "
        "recognises.",
        score=0.92,
        evidence=f"Training: {trained.said()}. Evaluation: {asked.said()}.",
        change={"augmentation": "none"},
    )


def _differences(trained: InputFigures, asked: InputFigures) -> Cause:
    ratio = asked.std.mean() / max(trained.std.mean(), 1e-12)
    plain = asked.low.min() >= -1e-3 and asked.high.max() <= 1 + 1e-3
    raw = asked.low.min() >= -1e-3 and asked.high.max() > 50
    if raw and trained.high.max() < 50:
        text = "Evaluation gets pixel values up to 255 as they are in the file."
    elif plain and trained.low.min() < -1e-3:
        text = "Training normalises by mean and deviation, and evaluation does not."
    elif trained.low.min() >= -1e-3 and asked.low.min() < -1e-3:
        text = "Evaluation normalises by mean and deviation, and training does not."
    elif abs(ratio - 1) < 0.15:
        text = "Evaluation subtracts another mean, or gets photos with inverted brightness."
    else:
        text = f"Evaluation's values are spread {ratio:.2g} times as wide as training's."
    return Cause(
        name="preprocessing-differs",
        text=text,
        fix=(
            "Give evaluation and inference the same resizing, scaling and normalisation as "
            "training; leave out only the random augmentation."
        ),
        score=0.9,
        evidence=f"Training: {trained.said()}. Evaluation: {asked.said()}.",
        change={"evaluation.preprocessing": "training.preprocessing"},
    )


def _finding(
    trained: InputFigures,
    asked: InputFigures,
    measured: tuple[float, float],
    bounds: tuple[float, float],
    cause: Cause,
) -> Finding:
    shift, scale = measured
    by_shift = shift / bounds[0] > scale / bounds[1]
    return Finding(
        rule=PreprocessingDiffers.name,
        where="evaluation",
        severity=Severity.WARNING,
        title=(
            f"Evaluation's inputs are not prepared like training's: their means are up to "
            f"{shift:.2g} standard deviations apart and their spread differs {scale:.2g} times."
        ),
        causes=(cause,),
        count=asked.batches,
        first_step=asked.first_step,
        last_step=asked.last_step,
        measured=shift if by_shift else scale,
        threshold=bounds[0] if by_shift else bounds[1],
        plot={
            "ranges": {
                name: {"mean": f.mean.tolist(), "std": f.std.tolist()}
                for name, f in (("training", trained), ("evaluation", asked))
            }
        },
    )
