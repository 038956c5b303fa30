"""OpenVINO must not report what a person does."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import multiprocessing, sys, threading
import torch
from houndsight.models.conversion import to_openvino
started = []
multiprocessing.Process.start = lambda self: started.append(self)
to_openvino(torch.nn.Conv2d(3, 2, 3), size=8)
assert not started, started
loaded = [name for name in sys.modules if name.startswith("openvino_telemetry")]
assert not loaded, loaded
"""


def test_converting_a_network_reports_to_nobody() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=300)
