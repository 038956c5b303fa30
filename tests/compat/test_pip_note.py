"""`pip install smdebug` finds the requirement satisfied, and one line says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from houndsight.compat.pip_note import note


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("/venv/bin/python /venv/bin/pip install smdebug", True),
        ("python -m pip install -q --upgrade smdebug==1.0.12 pandas", True),
        ("python /usr/bin/pip3.11 install smdebug[all]", True),
        ("python -m pip install smdebug_rulesconfig", False),
        ("python -m pip download smdebug", False),
        ("python train.py install smdebug", False),
        ("python", False),
    ],
)
def test_who_is_told(command: str, told: bool) -> None:
    assert bool(note(command.split())) is told


def test_pip_is_satisfied(smdebug_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", "smdebug"],
        env=os.environ | {"PYTHONPATH": str(smdebug_path), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Requirement already satisfied: smdebug" in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("houndsight:")]
    assert len(lines) == 1
