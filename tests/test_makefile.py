"""What `make` does on a machine that is set up, with stand-ins for the programs it calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_second_demo_predicts_with_the_newest_run(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "requirements.lock", "venv/bin/houndsight", "venv/bin/python"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#!/bin/sh\ncase $0 in *python) echo cell.png;; *) echo "told $@";; esac\n')
        path.chmod(0o755)
    (tmp_path / "venv" / ".installed").touch()
    for age, name in ((100, "solar-cells"), (0, "solar-cells-2"), (50, "solar-cells-3")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        os.utime(folder, (1e9 - age, 1e9 - age))
    command = ["make", "-s", "-f", str(MAKEFILE), "demo", "VENV=venv"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "told predict runs/solar-cells-2/ cell.png"
