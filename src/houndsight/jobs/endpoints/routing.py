"""Which worker gets a request: the variant by weight, then one of its workers that is free.

The table is the endpoint's `status.json`, looked at for each request, so that a change of
configuration is followed from one request to the next.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from houndsight.jobs.endpoints.state import EndpointState, VariantState, WorkerState
from houndsight.jobs.layout import EndpointFolder

__all__ = ["Lease", "NoVariantError", "NoWorkerError", "Router"]

LOOK_AGAIN_S = 0.05


class NoVariantError(Exception):
    """There is no variant of that name, or none that takes requests."""


class NoWorkerError(Exception):
    """No worker became free in time. `all_down`: there was none to wait for."""

    def __init__(self, note: str, *, all_down: bool) -> None:
        super().__init__(note)
        self.note, self.all_down = note, all_down


@dataclass(frozen=True)
class Lease:
    """A worker that a request may be sent to."""

    variant: str
    worker: WorkerState
    socket: Path


class Router:
    """The workers of one endpoint, and how busy this control plane keeps them."""

    def __init__(self, folder: EndpointFolder) -> None:
        self._folder = folder
        self._busy: Counter[str] = Counter()
        self._freed = threading.Condition()
        self._stamp: tuple[int, int] = (0, 0)
        self._state: EndpointState | None = None

    def state(self) -> EndpointState | None:
        """The endpoint as its supervisor told it last; None before it did."""
        try:
            status = self._folder.status.stat()
        except FileNotFoundError:
            return None
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._state, self._stamp = EndpointState.read(self._folder.status), stamp
        return self._state

    def choose(self, target: str = "") -> str:
        """The variant for a request: the one named, else by weight.

        Raises:
            NoVariantError: there is none.
        """
        state = self.state()
        variants = state.variants if state is not None else ()
        if target:
            if target not in {variant.name for variant in variants}:
                names = ", ".join(variant.name for variant in variants) or "none"
                raise NoVariantError(f"There is no variant {target!r}; there are {names}.")
            return target
        weights = [max(0.0, variant.weight) for variant in variants]
        if not any(weights):
            raise NoVariantError("No variant has a weight above 0; name one, or change weights.")
        return random.choices(variants, weights)[0].name

    @contextmanager
    def lease(self, variant: str, deadline: float, patience_s: float) -> Iterator[Lease]:
        """A free worker of the variant, for as long as this lasts.

        Args:
            deadline: monotonic; how long to wait for a worker that is busy.
            patience_s: how long to wait for one that is not there.

        Raises:
            NoWorkerError: there was none in time.
            NoVariantError: the variant is no more.
        """
        found = self._wait(variant, deadline, time.monotonic() + patience_s)
        try:
            yield found
        finally:
            with self._freed:
                self._busy[found.worker.socket] -= 1
                if self._busy[found.worker.socket] <= 0:
                    del self._busy[found.worker.socket]
                self._freed.notify_all()

    def _wait(self, name: str, deadline: float, gone_by: float) -> Lease:
        with self._freed:
            while True:
                variant = self._variant(name)
                ready = [worker for worker in variant.workers if worker.ready]
                free = [w for w in ready if self._busy[w.socket] < variant.concurrency]
                if free:
                    worker = min(free, key=lambda w: self._busy[w.socket])
                    self._busy[worker.socket] += 1
                    return Lease(name, worker, self._folder.path / worker.socket)
                now = time.monotonic()
                if now >= deadline or (not ready and now >= gone_by):
                    raise NoWorkerError(variant.note, all_down=not ready)
                self._freed.wait(LOOK_AGAIN_S)

    def _variant(self, name: str) -> VariantState:
        state = self.state()
        for variant in state.variants if state is not None else ():
            if variant.name == name:
                return variant
        raise NoVariantError(f"The variant {name!r} is no more.")
