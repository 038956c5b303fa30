"""Rows of steps: norms, scalars, samples of parameters and gradients, updates."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from houndsight.debugger.blocks import Block
from houndsight.debugger.hook.lossgradient import loss_gradient
from houndsight.debugger.hook.making import AnyBlock, block, grouped, tables
from houndsight.debugger.hook.outcomes import Outcome
from houndsight.debugger.hook.recording import RawTensors, Samples, Step
from houndsight.debugger.hook.reduce import lengths, medians, sampled_statistics
from houndsight.debugger.hook.sampling import stacked, to_numpy
from houndsight.debugger.record import SAMPLED, Group, Mode, Statistic

__all__ = ["exact_rows", "step_rows"]

Array = npt.NDArray[Any]
TINY = 1e-12


def step_rows(
    steps: Sequence[Step], outcomes: Mapping[int, Outcome], before: Step | None
) -> list[AnyBlock]:
    """All rows of the steps; `outcomes` are their forwards', by `id`, and `before` is the step
    before the first."""
    blocks: list[AnyBlock] = []
    norms = _norms(steps)
    for group, at in ((Group.PARAMETERS, 0), (Group.GRADIENTS, 1)):
        blocks += grouped(
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
    blocks += tables(Mode.TRAIN, Group.SCALARS, scalars)
    blocks += _sampled(Group.PARAMETERS, [(s, s.before) for s in steps])
    blocks += _sampled(Group.GRADIENTS, [(s, _unscaled(s)) for s in steps])
    blocks += _updates(steps)
    blocks += _between([*([before] if before else []), *steps])
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
    return scalars | _loss_gradient(step)


def _loss_gradient(step: Step) -> dict[str, float]:
    """Means over the micro-batches of what came back to the output."""
    found = [g for f in step.forwards if (g := loss_gradient(f)) is not None]
    if not found:
        return {}
    # The scale of the whole step: each of the micro-batches has its share of it.
    scale = sum(g.scale for g in found) * len(step.forwards) / len(found)
    figures = {
        "gradient_rows": sum(g.rows for g in found) / len(found),
        "gradient_scale": scale / (1.0 if step.scale is None else float(step.scale)),
        "gradient_alignment": sum(g.alignment for g in found) / len(found),
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}


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
        block(
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
            blocks.append(block(Mode.TRAIN, *where, members, ratio[:, None], exact=False))
    return blocks


def _between(steps: Sequence[Step]) -> list[AnyBlock]:
    """What happened to the weights from the end of a step to the beginning of the next."""
    blocks: list[AnyBlock] = []
    for one, other in itertools.pairwise(steps):
        left, found = one.after, other.before
        if left is None or found is None or other.late or other.step != one.step + 1:
            continue
        if (left.names, left.sizes) != (found.names, found.sizes):
            continue
        old, new = stacked([left.values]), stacked([found.values])
        if not np.array_equal(old, new, equal_nan=True):
            sizes = left.sizes
            ratio = lengths(new - old, sizes) / np.maximum(lengths(old, sizes), TINY)
            where = (Group.UPDATES, (Statistic.BETWEEN,), left.names)
            blocks.append(block(Mode.TRAIN, *where, [other], ratio[:, None], exact=False))
    return blocks


def _moments(steps: Iterable[Step]) -> list[AnyBlock]:
    groups: dict[Any, list[tuple[Step, Samples]]] = defaultdict(list)
    for step in steps:
        moments = step.second_moments
        if moments is not None:
            groups[moments.names, moments.sizes].append((step, moments))
    return [
        block(
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


def exact_rows(raw: RawTensors) -> list[AnyBlock]:
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
