"""OpenVINO, imported so that it reports to nobody, with one core for the life of the process.

Its converter sends usage statistics from processes of its own, without asking, wherever the
package `openvino_telemetry` can be imported, and does without where it cannot. Everything here
takes OpenVINO and its core from this module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["core", "openvino"]

STATISTICS = "openvino_telemetry"
CONVERTER = ("openvino.tools.ovc", "openvino.tools.ovc.convert_impl")
"""What decides at its import whether there is anything to report with."""


@contextmanager
def _without_statistics() -> Iterator[None]:
    """Inside, their package cannot be imported; a person's own import of it stays as it is."""
    if STATISTICS in sys.modules:
        yield
        return
    sys.modules[STATISTICS] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[STATISTICS]


with _without_statistics():
    openvino: Any = import_module("openvino")
    for _module in CONVERTER:
        import_module(_module)

core: Any = openvino.Core()
"""The one core of the process, never let go of.

Its CPU plugin gives the thread that loads it another alternate stack for signals, and takes that
memory away when the core is let go of. With several cores, or on another thread, that is the wrong
one: Python's next signal handler has no stack, and Ctrl-C becomes a segmentation fault.
"""
