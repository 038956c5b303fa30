"""OpenVINO, imported so that it reports to nobody.

Its converter sends usage statistics from processes of its own, without asking, wherever the
package `openvino_telemetry` can be imported, and does without where it cannot. Everything here
takes OpenVINO from this module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["openvino"]

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
