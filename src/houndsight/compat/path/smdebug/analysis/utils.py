"""Whether trials look for what is new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["no_refresh", "refresh"]


@contextmanager
def no_refresh(trials: Any) -> Iterator[None]:
    """While it lasts the trials do not."""
    with _switched(trials, False):
        yield


@contextmanager
def refresh(trials: Any) -> Iterator[None]:
    """While it lasts they do."""
    with _switched(trials, True):
        yield


@contextmanager
def _switched(trials: Any, on: bool) -> Iterator[None]:
    listed = list(trials) if isinstance(trials, list | tuple | set) else [trials]
    before = [trial.dynamic_refresh for trial in listed]
    for trial in listed:
        trial.dynamic_refresh = on
    try:
        yield
    finally:
        for trial, was in zip(listed, before, strict=True):
            trial.dynamic_refresh = was
