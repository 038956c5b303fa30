"""Which trainings are run, in which order: a balanced fraction first, everything in the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fault_suite import split
from fault_suite.healthy import (
    FOURTH_VARIANTS,
    MORE_VARIANTS,
    THIRD_VARIANTS,
    VARIANTS,
    recipe,
    variant,
)
from fault_suite.registry import FAULTS
from fault_suite.spec import Spec

__all__ = ["PARTS", "Run", "plan", "twin"]

OPTIMIZERS, STARTS = ("sgd", "adam"), ("scratch", "transfer")
SEEDS = 5


@dataclass(frozen=True)
class Part:
    """Kinds, networks and data sets that belong together."""

    kinds: tuple[str, ...]
    networks: tuple[str, ...]
    data: tuple[str, ...]
    rounds: int
    """How often each kind is injected in the balanced fraction."""
    healthy: int
    """How many healthy trainings a network and data set get in it, at least."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """In which healthy trainings are made hard."""


PARTS = {
    "tuning": (
        Part(split.TUNING_KINDS, split.TUNING_NETWORKS, split.TUNING_DATA, 4, 8),
        Part(split.SEEN_KINDS, split.SEEN_NETWORKS, split.SEEN_DATA, 12, 11),
        Part(
            split.SECOND_KINDS,
            split.SECOND_NETWORKS,
            split.SECOND_DATA,
            4,
            8,
            tuple(MORE_VARIANTS),
        ),
        Part(
            split.THIRD_KINDS,
            split.THIRD_NETWORKS,
            split.THIRD_DATA,
            4,
            8,
            tuple(THIRD_VARIANTS),
        ),
    ),
    "unseen": (
        Part(
            split.UNSEEN_KINDS,
            split.UNSEEN_NETWORKS,
            split.UNSEEN_DATA,
            3,
            9,
            tuple(FOURTH_VARIANTS),
        ),
    ),
}
"""Each of groups that share nothing."""


@dataclass(frozen=True)
class Run:
    """A training of the plan."""

    part: str
    kind: str
    """A fault, a hard but healthy variant, or `healthy`."""
    spec: Spec

    @property
    def faulty(self) -> bool:
        """Whether a fault is injected."""
        return self.kind in FAULTS


def twin(spec: Spec) -> Spec:
    """The healthy training of the same cell and seed."""
    return recipe(spec.network, spec.data, spec.optimizer, spec.start, spec.seed)


def plan(part: str, *, full: bool = False) -> Iterator[Run]:
    """The runs of a part: in rounds, each with a twin before its faults; every run once."""
    seen = set[str]()
    rounds = [(_full if full else _fraction)(part, group) for group in PARTS[part]]
    for run in itertools.chain(*rounds):
        if run.spec.key not in seen:
            seen.add(run.spec.key)
            yield run


def _fraction(part: str, chosen: Part) -> Iterator[Run]:
    cells = _cells(chosen)
    pairs = list(itertools.product(chosen.networks, chosen.data))
    cheap = chosen.variants
    per_round = -(-chosen.healthy // chosen.rounds)
    for round_number in range(chosen.rounds):
        for place, kind in enumerate(chosen.kinds):
            spec = _place(kind, cells, place * 7 + round_number * 11, round_number % 3)
            if spec is None:
                continue
            yield Run(part, "healthy", twin(spec))
            yield Run(part, kind, FAULTS[kind].inject(spec))
        for place, (network, data) in enumerate(pairs):
            for number in range(per_round):
                index = round_number * per_round + number
                optimizer, start = OPTIMIZERS[(place + index) % 2], STARTS[(place + index // 2) % 2]
                spec = recipe(network, data, optimizer, start, index % 3)
                name = cheap[(place * 5 + index) % len(cheap)]
                yield Run(part, name, variant(spec, name))


def _cells(part: Part) -> list[Spec]:
    """Two cells for every network and data set, so that all settings are had equally often.

    Shuffled once, with a fixed seed.
    """
    cells = []
    for i, network in enumerate(part.networks):
        for j, data in enumerate(part.data):
            for k in range(2):
                optimizer, start = OPTIMIZERS[(i + j + k) % 2], STARTS[(i // 2 + j // 2 + k) % 2]
                cells.append(recipe(network, data, optimizer, start, 0))
    order = np.random.default_rng(2026).permutation(len(cells))
    return [cells[index] for index in order]


def _place(kind: str, cells: list[Spec], first: int, seed: int) -> Spec | None:
    """The first cell from `first` on into which the fault can be injected."""
    for offset in range(len(cells)):
        cell = cells[(first + offset) % len(cells)]
        if FAULTS[kind].fits(cell):
            return recipe(cell.network, cell.data, cell.optimizer, cell.start, seed)
    return None


def _full(part: str, chosen: Part) -> Iterator[Run]:
    settings = itertools.product(range(SEEDS), chosen.networks, chosen.data, OPTIMIZERS, STARTS)
    for seed, network, data, optimizer, start in settings:
        spec = recipe(network, data, optimizer, start, seed)
        yield Run(part, "healthy", spec)
        for name in chosen.variants:
            yield Run(part, name, variant(spec, name))
        for kind in chosen.kinds:
            if FAULTS[kind].fits(spec):
                yield Run(part, kind, FAULTS[kind].inject(spec))
