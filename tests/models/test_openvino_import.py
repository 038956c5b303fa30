"""OpenVINO must not report what a person does, nor make a signal deadly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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

SIGNALLED = """
import faulthandler, signal, sys
from pathlib import Path
import numpy, torch
from houndsight.models.conversion import to_openvino
from houndsight.models.graph import open_openvino
from houndsight.models.openvino_import import openvino
# As in a program under a debugger of crashes: its stack is the one that the plugin replaces.
faulthandler.enable()
path = Path(sys.argv[1])
openvino.save_model(to_openvino(torch.nn.Conv2d(3, 2, 3), size=8), path)
first, second = open_openvino(path), open_openvino(path)
del first
del second
signal.signal(signal.SIGINT, lambda *_: print("heard"))
signal.raise_signal(signal.SIGINT)
"""


def test_converting_a_network_reports_to_nobody() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=300)


def test_a_signal_is_heard_after_graphs_were_let_go_of(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path / "model.xml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
