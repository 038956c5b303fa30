"""`make test-all`: every test, then the quick ones again on every other supported Python found.

A Python is found as `python3.12` on PATH, among pyenv's versions, or where the variable
PYTHON312 says. One that fails does not keep the others from being tried; the summary at the end
says how each did, and the exit status is 1 if any failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

VERSIONS = ("3.11", "3.12", "3.13")
PROJECT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT = "--timeout=1800"
"""Seconds a test may take: a crash test makes three runs, and machines are busy."""
PARALLEL = ("--numprocesses=auto", "--dist=loadfile", "--max-worker-restart=0")
"""A process a core; a file's tests stay in one. One that dies ends the run, which would hang."""
HEADINGS = ("Python", "tests", "passed", "failed", "skipped", "seconds")


@dataclass
class Outcome:
    """How the tests went on one Python."""

    python: str
    tests: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """How many for each reason."""
    seconds: float = 0.0
    trouble: str = ""
    """Why there are no figures."""
    missing: bool = False
    """Not on this machine, which is no failure."""

    @property
    def good(self) -> bool:
        """Whether nothing speaks against it."""
        return self.missing or (not self.failed and not self.trouble)

    def row(self) -> tuple[str, ...]:
        """What stands under `HEADINGS`."""
        if self.trouble:
            return (self.python, self.tests, self.trouble)
        figures = (self.passed, len(self.failed), self.skipped.total(), round(self.seconds))
        return (self.python, self.tests, *(f"{figure:,}" for figure in figures))


def main() -> int:
    """Run everything and say how each part ended."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    _provide_browser()
    outcomes = [run_tests(Path(sys.executable), here, "all")]
    outcomes += [_elsewhere(version) for version in VERSIONS if version != here]
    print("\n" + "\n".join(summary(outcomes)), flush=True)
    return int(not all(outcome.good for outcome in outcomes))


def _elsewhere(version: str) -> Outcome:
    """The quick tests on another Python."""
    python = find_python(version)
    if python is None:
        return Outcome(version, "quick", trouble="not on this machine, left out", missing=True)
    print(f"\nPython {version}: {python}", flush=True)
    try:
        return run_tests(_environment(python, version), version, "quick")
    except (OSError, subprocess.CalledProcessError) as error:
        return Outcome(version, "quick", trouble=f"failed: it cannot be set up ({error})")


def find_python(version: str) -> str | None:
    """An interpreter of this version that starts, or None."""
    for candidate in _candidates(version):
        script = f"import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
        try:
            started = subprocess.run([candidate, "-c", script], capture_output=True, check=False)
        except OSError:
            continue
        # A version manager's stub may only say that its Python is there.
        if started.returncode == 0:
            return candidate
    return None


def _candidates(version: str) -> Iterator[str]:
    named = os.environ.get(f"PYTHON{version.replace('.', '')}")
    if named:
        yield named
        return
    found = shutil.which(f"python{version}")
    if found:
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))


def _environment(python: str, version: str) -> Path:
    """A virtual environment of this Python with everything installed, kept for the next time."""
    folder = PROJECT / f".venv-python{version}"
    command = ["make", "install", f"PYTHON={python}", f"VENV={folder.name}"]
    subprocess.run(command, cwd=PROJECT, check=True)
    return folder / "bin" / "python"


def _provide_browser() -> None:
    """Chromium for the tests of the report, where the machine lets us; they skip without."""
    if any(map(shutil.which, BROWSERS)) or os.geteuid() or not shutil.which("apt-get"):
        return
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "-y", "chromium"]):
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            print("Chromium cannot be installed; the tests that need it are skipped.", flush=True)
            return


def run_tests(python: Path, version: str, tests: str) -> Outcome:
    """Run all or the quick tests and count how they ended."""
    begun = time.monotonic()
    outcome = Outcome(version, tests)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        marks = [] if tests == "all" else ["-m", "not slow"]
        command = [str(python), "-m", "pytest", *PARALLEL, *marks, f"--junitxml={report}", TIMEOUT]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        status = subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
        if report.exists():
            count(report, outcome)
        if status and not outcome.failed:
            outcome.trouble = f"failed: pytest ended with {status}"
    outcome.seconds = time.monotonic() - begun
    return outcome


def count(report: Path, outcome: Outcome) -> None:
    """Add what a JUnit file tells."""
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(name)
        elif skipped is not None:
            outcome.skipped[skipped.get("message") or "no reason given"] += 1
        else:
            outcome.passed += 1


def summary(outcomes: list[Outcome]) -> list[str]:
    """A table, then what failed and why some were skipped."""
    rows = [HEADINGS, *(outcome.row() for outcome in outcomes)]
    widths = [max(len(row[i]) for row in rows if len(row) == len(HEADINGS)) for i in range(6)]
    lines = ["Summary"]
    # A reason instead of figures may be longer than its column.
    for row in rows:
        cells = zip(row, widths, strict=False)
        sides = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(cells)]
        lines.append("  " + "  ".join(sides).rstrip())
    for outcome in outcomes:
        lines += [f"  {outcome.python} failed: {name}" for name in outcome.failed]
    for outcome in outcomes:
        for reason, number in outcome.skipped.most_common():
            lines.append(f"  {outcome.python} skipped {number}: {reason}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
