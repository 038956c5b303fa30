"""From what was taken to rows: everything that can wait, done on the writer's thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from houndsight.debugger.blocks import Block, ExamplesBlock
from houndsight.debugger.hook.activity import Activity
from houndsight.debugger.hook.batchnorm import drift
from houndsight.debugger.hook.inputs import INPUT_STATISTICS, channel_statistics, fingerprints
from houndsight.debugger.hook.outcomes import LOGIT_STATISTICS, Outcome, outcomes_of
from houndsight.debugger.hook.recording import Chunk, Forward, RawTensors, Samples, Step
from houndsight.debugger.hook.reduce import lengths, medians, sampled_statistics
from houndsight.debugger.hook.sampling import stacked, to_numpy
from houndsight.debugger.record import SAMPLED, Group, Mode, Statistic

__all__ = ["Reducer"]

Array = npt.NDArray[Any]
AnyBlock = Block | ExamplesBlock
TINY = 1e-12


class Reducer:
    """Turns chunks into blocks of rows, in order.

    Args:
        activations: names of the watched modules, by slot.
        kinds: their classes.
    """

    def __init__(self, activations: Sequence[str], kinds: Sequence[str]) -> None:
        self.activations = activations
        self._activity = Activity(activations, kinds)

    def reduce(self, chunk: Chunk) -> list[AnyBlock]:
        """All rows of the chunk."""
        # A step's first micro-batches may have been filed with the chunk before.
        taken = {id(forward): forward for forward in chunk.forwards}
        taken |= {id(forward): forward for step in chunk.steps for forward in step.forwards}
        outcomes = outcomes_of(taken.values())
        blocks: list[AnyBlock] = []
        for mode in Mode:
            forwards = [f for f in chunk.forwards if f.mode == mode]
            if forwards:
                blocks += self._forwards(mode, forwards, outcomes)
        if chunk.steps:
            blocks += _steps(chunk.steps, outcomes)
        for raw in chunk.raw:
            blocks += _exact(raw)
        return blocks

    # -- forwards ---------------------------------------------------------------------------

    def _forwards(
        self, mode: Mode, forwards: list[Forward], outcomes: Mapping[int, Outcome]
    ) -> list[AnyBlock]:
        known = [outcomes[id(forward)] for forward in forwards]
        blocks: list[AnyBlock] = []
        flags = [(f, _flags(f, o, mode)) for f, o in zip(forwards, known, strict=True)]
        blocks += _tables(mode, Group.FLAGS, flags)
        if mode != Mode.TRAIN:
            scalars = [(f, _evaluated(f, o)) for f, o in zip(forwards, known, strict=True)]
            blocks += _tables(mode, Group.SCALARS, scalars)
        blocks += _examples(mode, forwards, known)
        blocks += _inputs(mode, forwards)
        logits = [(f, o) for f, o in zip(forwards, known, strict=True) if o.logits is not None]
        if logits:
            values = np.stack([o.logits for _, o in logits if o.logits is not None])
            where = [f for f, _ in logits]
            blocks.append(
                _block(mode, Group.LOGITS, LOGIT_STATISTICS, ("logits",), where, values[:, :, None])
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
                _block(mode, Group.ACTIVATIONS, SAMPLED, names, where, values, exact=False)
            )
            if mode == Mode.TRAIN:
                for statistic, shares in self._activity.shares().items():
                    named, found = tuple(shares), np.array([[[*shares.values()]]], np.float32)
                    blocks.append(
                        _block(
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
                    **_places([f for f, _ in there]),
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
        if forward.inputs is not None:
            sample = forward.inputs
            groups[sample.values.shape, sample.count, id(sample.channels)].append(forward)
    blocks: list[AnyBlock] = []
    for members in groups.values():
        sample = members[0].inputs
        values = stacked([f.inputs.values for f in members])
        statistics = channel_statistics(values, sample.channels, sample.count)
        names = tuple(map(str, range(sample.count)))
        blocks.append(
            _block(mode, Group.INPUTS, INPUT_STATISTICS, names, members, statistics, exact=False)
        )
    return blocks


def _batchnorms(mode: Mode, forwards: Sequence[Forward]) -> list[AnyBlock]:
    groups: dict[Any, list[Forward]] = defaultdict(list)
    for forward in forwards:
        found = forward.batchnorms
        if found is not None and found.after is not None:
            groups[found.modules, found.before.sizes, found.momenta].append(forward)
    return [
        _block(
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


# -- steps ----------------------------------------------------------------------------------


def _steps(steps: Sequence[Step], outcomes: Mapping[int, Outcome]) -> list[AnyBlock]:
    blocks: list[AnyBlock] = []
    norms = _norms(steps)
    for group, at in ((Group.PARAMETERS, 0), (Group.GRADIENTS, 1)):
        blocks += _grouped(
            group,
            (Statistic.NORM,),
            [
                (step, step.with_gradient if at else step.names, norm[at][None])
                for step, norm in zip(steps, norms, strict=True)
            ],
        )
    scalars = [
        (step, _scalars(step, norm[1], [outcomes[id(f)] for f in step.forwards]))
        for step, norm in zip(steps, norms, strict=True)
    ]
    blocks += _tables(Mode.TRAIN, Group.SCALARS, scalars)
    blocks += _sampled(Group.PARAMETERS, [(s, s.before) for s in steps])
    blocks += _sampled(Group.GRADIENTS, [(s, _unscaled(s)) for s in steps])
    blocks += _updates(steps)
    blocks += _moments(steps)
    return blocks


def _norms(steps: Sequence[Step]) -> list[tuple[Array, Array]]:
    """Lengths of parameters and gradients of each step."""
    flat = [norm for step in steps for norm in step.norms]
    if flat and flat[0].is_cuda:
        flat = list(torch.stack([norm.float() for norm in flat]).cpu())
    values = np.fromiter(map(float, flat), np.float32, len(flat))
    found, start = [], 0
    for step in steps:
        middle, end = start + len(step.names), start + len(step.norms)
        found.append((values[start:middle], values[middle:end] / _left(step)))
        start = end
    return found


def _left(step: Step) -> float:
    """What the gradients were still multiplied by when they were looked at."""
    return 1.0 if step.gradient_scale is None else float(step.gradient_scale)


def _scalars(step: Step, norms: Array, outcomes: Sequence[Outcome]) -> dict[str, float]:
    scalars: dict[str, float] = {}
    for name in dict.fromkeys(name for outcome in outcomes for name in outcome.losses):
        values = [o.losses[name] for o in outcomes if name in o.losses]
        scalars[name] = sum(values) / len(values)
    right = [o for o in outcomes if o.accuracy is not None]
    if right:
        count = [len(o.labels) if o.labels is not None else 1 for o in right]
        hits = sum((o.accuracy or 0.0) * n for o, n in zip(right, count, strict=True))
        scalars["accuracy"] = hits / max(sum(count), 1)
    scalars |= _rates(step)
    with np.errstate(all="ignore"):
        scalars["gradient_norm"] = float(np.sqrt(np.square(norms, dtype=np.float64).sum()))
    scalars["micro_batches"] = float(len(step.forwards))
    scalars["batch_size"] = float(sum(f.batch for f in step.forwards))
    if step.scale is not None:
        scalars["loss_scale"] = float(step.scale)
    return scalars


def _rates(step: Step) -> dict[str, float]:
    rates = [float(rate) for rate in step.rates]
    if not rates:
        return {}
    named = {f"learning_rate/{i}": rate for i, rate in enumerate(rates)}
    return {"learning_rate": rates[step.largest_group]} | (named if len(rates) > 1 else {})


def _unscaled(step: Step) -> Samples | None:
    samples = step.gradients
    if samples is None or step.gradient_scale is None:
        return samples
    return Samples(samples.names, samples.sizes, to_numpy(samples.values) / _left(step))


def _sampled(group: Group, found: Iterable[tuple[Step, Samples | None]]) -> list[AnyBlock]:
    groups: dict[Any, list[tuple[Step, Any]]] = defaultdict(list)
    for step, samples in found:
        if samples is not None:
            groups[samples.names, samples.sizes].append((step, samples.values))
    return [
        _block(
            Mode.TRAIN,
            group,
            SAMPLED,
            names,
            [s for s, _ in members],
            sampled_statistics(stacked([v for _, v in members]), sizes),
            exact=False,
        )
        for (names, sizes), members in groups.items()
    ]


def _updates(steps: Iterable[Step]) -> list[AnyBlock]:
    groups: dict[Any, list[Step]] = defaultdict(list)
    for step in steps:
        if step.before is not None and step.after is not None:
            groups[step.before.names, step.before.sizes, step.after.sizes].append(step)
    blocks: list[AnyBlock] = []
    for (names, sizes, after), members in groups.items():
        if sizes == after:
            old = stacked([s.before.values for s in members if s.before is not None])
            new = stacked([s.after.values for s in members if s.after is not None])
            ratio = lengths(new - old, sizes) / np.maximum(lengths(old, sizes), TINY)
            where = (Group.UPDATES, (Statistic.RATIO,), names)
            blocks.append(_block(Mode.TRAIN, *where, members, ratio[:, None], exact=False))
    return blocks


def _moments(steps: Iterable[Step]) -> list[AnyBlock]:
    groups: dict[Any, list[tuple[Step, Samples]]] = defaultdict(list)
    for step in steps:
        moments = step.second_moments
        if moments is not None:
            groups[moments.names, moments.sizes].append((step, moments))
    return [
        _block(
            Mode.TRAIN,
            Group.OPTIMIZER,
            (Statistic.SECOND_MOMENT,),
            names,
            [s for s, _ in members],
            medians(stacked([m.values for _, m in members]), sizes)[:, None],
            exact=False,
        )
        for (names, sizes), members in groups.items()
    ]


def _exact(raw: RawTensors) -> list[AnyBlock]:
    """The sampled statistics over again, of all elements."""
    blocks: list[AnyBlock] = []
    for name, tensors in raw.tensors.items():
        if not tensors:
            continue
        rows = [
            sampled_statistics(to_numpy(t).reshape(1, -1), [t.numel()])[0] for t in tensors.values()
        ]
        blocks.append(
            Block(
                mode=Mode.TRAIN,
                group=Group(name),
                statistics=SAMPLED,
                names=tuple(tensors),
                steps=np.array([raw.step]),
                forwards=np.array([raw.forward]),
                times=np.array([raw.time]),
                values=np.concatenate(rows, axis=1)[None],
            )
        )
    return blocks


# -- blocks ---------------------------------------------------------------------------------


def _places(where: Sequence[Forward | Step]) -> dict[str, Any]:
    return {
        "steps": np.array([w.step for w in where], np.int64),
        "forwards": np.array([w.number for w in where], np.int64),
        "times": np.array([w.time for w in where], np.float64),
    }


def _block(
    mode: Mode,
    group: Group,
    statistics: tuple[Statistic, ...],
    names: tuple[str, ...],
    where: Sequence[Forward | Step],
    values: Array,
    *,
    exact: bool = True,
) -> Block:
    return Block(
        mode=mode,
        group=group,
        statistics=statistics,
        names=names,
        values=values,
        exact=exact,
        **_places(where),
    )


def _grouped(
    group: Group,
    statistics: tuple[Statistic, ...],
    found: Iterable[tuple[Step, tuple[str, ...], Array]],
    *,
    exact: bool = True,
) -> list[AnyBlock]:
    """Blocks of steps that have the same names; values are (statistics, names)."""
    groups: dict[tuple[str, ...], list[tuple[Step, Array]]] = defaultdict(list)
    for step, names, values in found:
        if names:
            groups[names].append((step, values))
    return [
        _block(
            Mode.TRAIN,
            group,
            statistics,
            names,
            [s for s, _ in members],
            np.stack([v for _, v in members]),
            exact=exact,
        )
        for names, members in groups.items()
    ]


def _tables(
    mode: Mode, group: Group, rows: Iterable[tuple[Any, Mapping[str, float]]]
) -> list[AnyBlock]:
    """Blocks of named single figures."""
    groups: dict[tuple[str, ...], list[tuple[Any, list[float]]]] = defaultdict(list)
    for where, figures in rows:
        groups[tuple(figures)].append((where, [*figures.values()]))
    return [
        _block(
            mode,
            group,
            (Statistic.VALUE,),
            names,
            [w for w, _ in members],
            np.array([v for _, v in members], np.float32)[:, None],
        )
        for names, members in groups.items()
        if names
    ]
