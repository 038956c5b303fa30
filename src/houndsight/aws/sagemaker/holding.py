"""Holding a Describe open until something changes, so that a client that sleeps sleeps once.

The SDKs look every 5 or 30 seconds; a job that ends just after a look would be seen ended only at
the next. Clients that poll are told from people by when they last asked: a person who asks twice
in a second, or once in an hour, is answered at once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from houndsight.jobs.states import Kind
from houndsight.jobs.store import JobStore, Record

__all__ = ["Holding"]

POLLING_FROM_S, POLLING_TO_S = 3.5, 150.0
"""Who asks again after so long polls: the SDKs and botocore's waiters sleep 5 to 120 s."""
REMEMBERED = 10_000


class Holding:
    """Remembers who asked about what, and waits for changes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, client: str, arn: str) -> float | None:
        """Seconds since this client last asked about it, if it seems to be polling, else None."""
        now, key = self._clock(), (client, arn)
        with self._lock:
            before = self._asked.pop(key, None)
            self._asked[key] = now
            if len(self._asked) > REMEMBERED:
                self._asked.popitem(last=False)
        since = None if before is None else now - before
        return since if since is not None and POLLING_FROM_S <= since <= POLLING_TO_S else None

    def until(
        self,
        store: JobStore,
        record: Record,
        done: Callable[[Record], bool],
        *,
        client: str,
        seconds: float,
    ) -> Record:
        """The record, as soon as it is `done` or the time is over.

        Raises:
            NotFoundError: it was deleted meanwhile.
        """
        kind, deadline = Kind(record.kind), self._clock() + seconds
        while not done(record):
            left = deadline - self._clock()
            if left <= 0:
                break
            record = store.wait_changed(kind, record.name, record.modified, left)
        with self._lock:  # a client's sleep begins with the answer
            self._asked[client, record.arn] = self._clock()
        return record
