"""`make test-all`: every test, then the quick ones again on every other supported Python found.

Prints one summary at the end and fails if any part failed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PYTHONS = ("python3.11", "python3.12", "python3.13")
PROJECT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run everything and say how each part ended."""
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    outcomes = {f"{here}, all tests": _pytest(Path(sys.executable), "")}
    for python in PYTHONS:
        if python == here:
            continue
        if not _runs(python):
            outcomes[python] = "not on this machine, left out"
            continue
        executable = _environment(python)
        outcomes[f"{python}, quick tests"] = _pytest(executable, "not slow")
    print("\nSummary")
    for name, outcome in outcomes.items():
        print(f"  {name:<24} {outcome}")
    return int(any("failed" in outcome for outcome in outcomes.values()))


def _runs(python: str) -> bool:
    """Whether a Python is there and starts; a version manager's stub may only say that it is."""
    found = shutil.which(python)
    return found is not None and subprocess.run([found, "-c", ""], check=False).returncode == 0


def _environment(python: str) -> Path:
    """A virtual environment of this Python with everything installed, kept for the next time."""
    folder = PROJECT / f".venv-{python}"
    command = ["make", "install", f"PYTHON={python}", f"VENV={folder.name}"]
    subprocess.run(command, cwd=PROJECT, check=True)
    return folder / "bin" / "python"


def _pytest(executable: Path, marks: str) -> str:
    """Run the tests and return pytest's last line."""
    command = [str(executable), "-m", "pytest", *(["-m", marks] if marks else [])]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return last if process.returncode == 0 else f"failed: {last}"


if __name__ == "__main__":
    sys.exit(main())
