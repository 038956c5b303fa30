"""What asking a worker over its socket does when the worker dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from houndsight.jobs.endpoints.connection import BrokenOffError, NotBegunError, exchange

DYING = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listens", flush=True)
connection, _ = listener.accept()
connection.recv(65_536)
connection.close()
time.sleep(0.4)
os._exit(3)
"""


def test_who_saw_a_worker_die_finds_nobody_listening(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    command = [sys.executable, "-c", DYING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        with pytest.raises(BrokenOffError):
            exchange(path, "POST", "/invocations", timeout_s=30)
        with pytest.raises(NotBegunError):
            exchange(path, "POST", "/invocations", timeout_s=30)
