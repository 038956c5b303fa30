"""Rows of forwards: flags, examples, inputs, logits, activations, BatchNorm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from houndsight.debugger.blocks import ExamplesBlock
from houndsight.debugger.hook.activity import Activity
from houndsight.debugger.hook.baseline import Baseline
from houndsight.debugger.hook.batchnorm import drift
from houndsight.debugger.hook.inputs import INPUT_STATISTICS, channel_statistics, fingerprints
from houndsight.debugger.hook.layout import LAYOUT_STATISTICS
from houndsight.debugger.hook.making import AnyBlock, block, places, tables
from houndsight.debugger.hook.outcomes import LOGIT_STATISTICS, Outcome
from houndsight.debugger.hook.recording import Forward
from houndsight.debugger.hook.reduce import sampled_statistics
from houndsight.debugger.hook.sampling import stacked, to_numpy
from houndsight.debugger.record import SAMPLED, Group, Mode, Statistic

__all__ = ["ForwardRows"]

Array = npt.NDArray[Any]


class ForwardRows:
    """Makes rows of forwards; what it must have seen enough of goes on from call to call.

    Args:
        activations: names of the watched modules, by slot; it may grow.
        kinds: their classes.
        baseline: what evaluations are compared with.
    """

    def __init__(
        self, activations: Sequence[str], kinds: Sequence[str], baseline: Baseline
    ) -> None:
        self.activations, self._baseline = activations, baseline
        self._activity = Activity(activations, kinds)

    def make(
        self, mode: Mode, forwards: list[Forward], outcomes: Mapping[int, Outcome]
    ) -> list[AnyBlock]:
        """All rows of forwards of one mode; `outcomes` are theirs, by `id`."""
        known = [outcomes[id(forward)] for forward in forwards]
        blocks: list[AnyBlock] = []
        flags = [(f, _flags(f, o, mode)) for f, o in zip(forwards, known, strict=True)]
        blocks += tables(mode, Group.FLAGS, flags)
        if mode != Mode.TRAIN:
            plain = self._baseline.accuracies(forwards, outcomes)
            scalars = [
                (f, _evaluated(f, o) | plain.get(id(f), {}))
                for f, o in zip(forwards, known, strict=True)
            ]
            blocks += tables(mode, Group.SCALARS, scalars)
        blocks += _examples(mode, forwards, known)
        blocks += _inputs(mode, forwards)
        blocks += _weights(mode, forwards)
        logits = [(f, o) for f, o in zip(forwards, known, strict=True) if o.logits is not None]
        if logits:
            values = np.stack([o.logits for _, o in logits if o.logits is not None])
            where = [f for f, _ in logits]
            blocks.append(
                block(mode, Group.LOGITS, LOGIT_STATISTICS, ("logits",), where, values[:, :, None])
            )
        blocks += self._activations(mode, forwards)
        blocks += _batchnorms(mode, forwards)
        return blocks

    def _activations(self, mode: Mode, forwards: Iterable[Forward]) -> list[AnyBlock]:
        groups: dict[Any, list[tuple[Forward, Array]]] = defaultdict(list)
        for forward in forwards:
            taken = {slot: (plan, values) for slot, plan, values in forward.activations or ()}
            if not taken:
                continue
            arrays = [to_numpy(values) for _, values in taken.values()]
            key = (tuple(taken), tuple(map(len, arrays)))
            groups[key].append((forward, np.concatenate(arrays)))
            if mode == Mode.TRAIN:
                for (slot, (plan, _)), values in zip(taken.items(), arrays, strict=True):
                    self._activity.note(slot, plan.each, values)
        blocks: list[AnyBlock] = []
        for (slots, sizes), members in groups.items():
            names = tuple(self.activations[slot] for slot in slots)
            values = sampled_statistics(np.stack([v for _, v in members]), sizes)
            where = [f for f, _ in members]
            blocks.append(
                block(mode, Group.ACTIVATIONS, SAMPLED, names, where, values, exact=False)
            )
            if mode == Mode.TRAIN:
                for statistic, shares in self._activity.shares().items():
                    named, found = tuple(shares), np.array([[[*shares.values()]]], np.float32)
                    blocks.append(
                        block(
                            mode,
                            Group.ACTIVATIONS,
                            (statistic,),
                            named,
                            where[-1:],
                            found,
                            exact=False,
                        )
                    )
        return blocks


def _flags(forward: Forward, outcome: Outcome, mode: Mode) -> dict[str, float]:
    flags = {
        "training": float(forward.training),
        "batchnorm_training": forward.batchnorm,
        "dropout_training": forward.dropout,
        "gradients_enabled": float(forward.gradients),
    }
    if outcome.probabilities_as_targets is not None:
        flags["targets_probabilities"] = float(outcome.probabilities_as_targets)
    if outcome.softmaxed is not None:
        flags["inputs_softmaxed"] = float(outcome.softmaxed)
    for name, value in (("stale_gradients", forward.stale), ("kept_gradients", forward.kept)):
        if value is not None and mode == Mode.TRAIN:
            flags[name] = float(bool(value))
    if forward.stepped:
        flags["stepped"] = 1.0
    if forward.written is not None and mode != Mode.TRAIN:
        flags["statistics_written"] = float(forward.written)
    return flags


def _evaluated(forward: Forward, outcome: Outcome) -> dict[str, float]:
    scalars = dict(outcome.losses)
    if outcome.accuracy is not None:
        scalars["accuracy"] = outcome.accuracy
    scalars["batch_size"] = float(forward.batch)
    return scalars


def _examples(
    mode: Mode, forwards: Sequence[Forward], outcomes: Sequence[Outcome]
) -> list[AnyBlock]:
    blocks: list[AnyBlock] = []
    pairs = list(zip(forwards, outcomes, strict=True))
    marks = _fingerprints(forwards)
    for group, found in (
        (Group.LABELS, [(f, o.labels) for f, o in pairs]),
        (Group.PREDICTIONS, [(f, o.predictions) for f, o in pairs]),
        (Group.LOSSES, [(f, o.each) for f, o in pairs]),
        (Group.EXAMPLES, [(f, marks.get(id(f))) for f in forwards]),
    ):
        there = [(f, v) for f, v in found if v is not None]
        if there:
            blocks.append(
                ExamplesBlock(
                    mode=mode,
                    group=group,
                    statistic=(
                        Statistic.FINGERPRINT if group == Group.EXAMPLES else Statistic.VALUE
                    ),
                    values=tuple(v for _, v in there),
                    integral=group != Group.LOSSES,
                    **places([f for f, _ in there]),
                )
            )
    return blocks


def _fingerprints(forwards: Iterable[Forward]) -> dict[int, Array]:
    """Of each example, by `id` of the forward."""
    groups: dict[Any, list[Forward]] = defaultdict(list)
    for forward in forwards:
        if forward.inputs is not None:
            groups[forward.inputs.values.shape].append(forward)
    found: dict[int, Array] = {}
    for members in groups.values():
        marks = fingerprints(stacked([f.inputs.values for f in members]))
        found |= {id(forward): mark for forward, mark in zip(members, marks, strict=True)}
    return found


def _inputs(mode: Mode, forwards: Sequence[Forward]) -> list[AnyBlock]:
    groups: dict[Any, list[Forward]] = defaultdict(list)
    for forward in forwards:
        if forward.inputs is not None and forward.inputs.count:
            sample = forward.inputs
            groups[sample.values.shape, sample.count, id(sample.channels)].append(forward)
    blocks: list[AnyBlock] = []
    for members in groups.values():
        sample = members[0].inputs
        values = stacked([f.inputs.values for f in members])
        statistics = channel_statistics(values, sample.channels, sample.count)
        names = tuple(map(str, range(sample.count)))
        blocks.append(
            block(mode, Group.INPUTS, INPUT_STATISTICS, names, members, statistics, exact=False)
        )
        if sample.layout is not None:
            laid = sample.layout.statistics(values)
            where = (Group.INPUTS, LAYOUT_STATISTICS, ("image",), members)
            blocks.append(block(mode, *where, laid, exact=False))
    return blocks


def _weights(mode: Mode, forwards: Sequence[Forward]) -> list[AnyBlock]:
    """Lengths of the parameters as an evaluation saw them."""
    blocks: list[AnyBlock] = []
    for forward in forwards:
        if forward.weights is not None and mode != Mode.TRAIN:
            names, norms = forward.weights
            values = np.array([float(norm) for norm in norms], np.float32)[None, None]
            where = (Group.PARAMETERS, (Statistic.NORM,), names, [forward])
            blocks.append(block(mode, *where, values))
    return blocks


def _batchnorms(mode: Mode, forwards: Sequence[Forward]) -> list[AnyBlock]:
    groups: dict[Any, list[Forward]] = defaultdict(list)
    for forward in forwards:
        found = forward.batchnorms
        if found is not None and found.after is not None:
            groups[found.modules, found.before.sizes, found.momenta].append(forward)
    return [
        block(
            mode,
            Group.BATCHNORM,
            (Statistic.DRIFT, Statistic.VARIANCE_RATIO),
            modules,
            members,
            drift(
                stacked([f.batchnorms.before.values for f in members]),
                stacked([f.batchnorms.after.values for f in members]),
                sizes,
                np.array(momenta),
            ),
        )
        for (modules, sizes, momenta), members in groups.items()
    ]
