"""Silence for a library's warnings about one file, from any number of threads."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["pillow_quiet"]

_lock = threading.Lock()
_depth = 0
_saved: warnings.catch_warnings[None] | None = None


@contextmanager
def pillow_quiet() -> Iterator[None]:
    """Leave out Pillow's warnings: what is wrong with a photo is told by its error or finding.

    `warnings.catch_warnings` alone is not safe between threads (each puts back what it met), so
    the first to enter sets the filter and the last to leave puts the old ones back.
    """
    global _depth, _saved
    with _lock:
        _depth += 1
        if _depth == 1:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0 and _saved is not None:
                _saved.__exit__(None, None, None)
                _saved = None
