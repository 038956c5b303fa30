"""Reading ahead in a thread, so that loading overlaps with computing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")


class _End:
    """Marks the end of the queue, with what went wrong."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(source: Iterable[T], *, depth: int = 2) -> Iterator[T]:
    """The items of `source`, in order, up to `depth` of them made ahead by a thread.

    An error in `source` is raised where the item was due. Closing the iterator ends the thread
    and closes a generator given as `source`, in that thread, before it returns.
    """
    items: queue.Queue[T | _End] = queue.Queue(depth)
    closed = threading.Event()
    thread = threading.Thread(target=_fill, args=(source, items, closed), daemon=True)
    thread.start()
    try:
        while not isinstance(item := items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        thread.join()


def _fill(source: Iterable[T], items: queue.Queue[T | _End], closed: threading.Event) -> None:
    error: BaseException | None = None
    iterator = iter(source)
    try:
        for item in iterator:
            if not _put(items, item, closed):
                break
    except BaseException as caught:
        error = caught
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    _put(items, _End(error), closed)


def _put(items: queue.Queue[T | _End], item: T | _End, closed: threading.Event) -> bool:
    """Whether the item went in; False once nobody reads any more."""
    while not closed.is_set():
        try:
            items.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
