"""SIGTERM as a request: finish the step, save, then end as the signal would have."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["deferred_termination"]


@contextmanager
def deferred_termination() -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM is noted and nothing else; the yielded function says whether it came.

    When the block ends the earlier handler is back, and a noted signal is raised for it: a
    command dies of it, or does what it does on SIGTERM. Outside the main thread, where Python
    allows no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: noted.set())
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
        if noted.is_set():
            signal.raise_signal(signal.SIGTERM)
