"""Which job may start: slots by cores, memory and GPUs, first come, first served.

A job takes cores / min(max_parallel_jobs, cores) of the machine, so that the jobs of a tuning job
share it and a job alone has all of it. All its hosts start together, from one allotment. An
endpoint takes memory and no slot. A later job may pass one that waits only by using what that one
does not need.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from houndsight.jobs.engine import Allotment
from houndsight.jobs.instances import instance
from houndsight.jobs.machine import Machine
from houndsight.jobs.spec import TrainingSpec
from houndsight.wording import plural, size

__all__ = ["Demand", "Scheduler", "demand_of"]

LEAST_MEMORY_BYTES = 1 << 30
"""A job is let in beside endpoints though they have left it less than it asks for."""
NAMED_HOLDERS = 3


@dataclass(frozen=True)
class Demand:
    """What a job needs free before it starts."""

    cores: int
    memory_bytes: int
    gpus: int = 0


def demand_of(spec: TrainingSpec, machine: Machine) -> Demand:
    """What `spec` asks for, clamped to its share of the machine."""
    share = max(1, min(spec.parallel_jobs, machine.cores))
    asked = instance(spec.instance_type)
    memory = machine.memory_bytes // share
    if asked is not None:
        memory = min(memory, asked.memory_bytes * spec.instance_count)
    gpus = min(asked.gpus * spec.instance_count if asked else 0, len(machine.gpus))
    if share > 1 and gpus:
        gpus = max(1, min(gpus, len(machine.gpus) // share))
    return Demand(max(1, machine.cores // share), memory, gpus)


class Scheduler:
    """The queue and what is taken. Not thread-safe: its owner holds a lock."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._queue: dict[str, Demand] = {}
        self._running: dict[str, Allotment] = {}
        self._reserved: dict[str, int] = {}

    @property
    def running(self) -> dict[str, Allotment]:
        """What each started job holds."""
        return dict(self._running)

    @property
    def queued(self) -> list[str]:
        """Who waits, in order."""
        return list(self._queue)

    def add(self, name: str, spec: TrainingSpec) -> None:
        """Put a job at the end of the queue."""
        self._queue[name] = demand_of(spec, self.machine)

    def hold(self, name: str, allotment: Allotment) -> None:
        """Count a job that runs already, whether or not there is room."""
        self._queue.pop(name, None)
        self._running[name] = allotment

    def release(self, name: str) -> None:
        """A job has ended, or is not wanted any more."""
        self._queue.pop(name, None)
        self._running.pop(name, None)

    def reserve(self, owner: str, memory_bytes: int) -> None:
        """Memory for an endpoint; 0 gives it back."""
        self._reserved.pop(owner, None)
        if memory_bytes:
            self._reserved[owner] = memory_bytes

    def startable(self) -> list[tuple[str, Allotment]]:
        """Take from the queue what may start now; it counts as running from here on."""
        free = self._free()
        started = []
        for name, demand in list(self._queue.items()):
            demand = self._beside_endpoints(demand)
            if self._lacking(demand, free):
                # What a waiting job needs is kept from those behind it.
                free = _less(free, demand.cores, demand.memory_bytes, free.gpus[: demand.gpus])
                continue
            gpus = free.gpus[: demand.gpus]
            allotment = Allotment(cores=demand.cores, memory_bytes=demand.memory_bytes, gpus=gpus)
            free = _less(free, demand.cores, demand.memory_bytes, gpus)
            self.hold(name, allotment)
            started.append((name, allotment))
        return started

    def waits_for(self, name: str) -> str:
        """What a queued job waits for, as a sentence; "" if it is not queued."""
        if name not in self._queue:
            return ""
        demand = self._beside_endpoints(self._queue[name])
        lacking = self._lacking(demand, self._free())
        ahead = self.queued[: self.queued.index(name)]
        if not lacking:
            return f"Waiting for its turn behind {_names(ahead)}." if ahead else "About to start."
        holders = _names(self._running) or "endpoints"
        return f"Waiting for {' and '.join(lacking)}, held by {holders}."

    def _free(self) -> Machine:
        taken = self._running.values()
        used = {gpu for allotment in taken for gpu in allotment.gpus}
        return Machine(
            self.machine.cores - sum(a.cores for a in taken),
            self._memory_for_jobs() - sum(a.memory_bytes for a in taken),
            tuple(gpu for gpu in self.machine.gpus if gpu not in used),
        )

    def _memory_for_jobs(self) -> int:
        least = min(LEAST_MEMORY_BYTES, self.machine.memory_bytes)
        return max(least, self.machine.memory_bytes - sum(self._reserved.values()))

    def _beside_endpoints(self, demand: Demand) -> Demand:
        """Endpoints may stay for days: a job never waits for memory that they hold."""
        share = max(1, self.machine.memory_bytes // max(1, demand.memory_bytes))
        memory = min(demand.memory_bytes, self._memory_for_jobs() // share)
        return Demand(demand.cores, memory, demand.gpus)

    def _lacking(self, demand: Demand, free: Machine) -> list[str]:
        lacking = []
        if demand.cores > free.cores:
            lacking.append(plural(demand.cores, "core"))
        if demand.memory_bytes > free.memory_bytes:
            lacking.append(f"{size(demand.memory_bytes)} of memory")
        if demand.gpus > len(free.gpus):
            lacking.append(plural(demand.gpus, "GPU"))
        return lacking


def _less(free: Machine, cores: int, memory_bytes: int, gpus: tuple[int, ...]) -> Machine:
    left = tuple(gpu for gpu in free.gpus if gpu not in gpus)
    return Machine(free.cores - cores, free.memory_bytes - memory_bytes, left)


def _names(jobs: Iterable[str]) -> str:
    names = list(jobs)
    more = f" and {len(names) - NAMED_HOLDERS} more" if len(names) > NAMED_HOLDERS else ""
    return ", ".join(names[:NAMED_HOLDERS]) + more
