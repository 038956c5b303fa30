"""`make test-all`: which Pythons it finds and what it says at the end."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "test_all.py"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="good"/>
<testcase classname="tests.a" name="bad"><failure message="no"/></testcase>
<testcase classname="tests.a" name="broken"><error message="no"/></testcase>
<testcase classname="tests.b" name="left"><skipped message="no browser"/></testcase>
<testcase classname="tests.b" name="out"><skipped message="no browser"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("test_all_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_a_python_named_by_a_variable_is_taken(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PYTHON{HERE.replace('.', '')}", sys.executable)
    assert script.find_python(HERE) == sys.executable


def test_a_python_among_the_versions_of_pyenv_is_taken(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "versions" / f"{HERE}.9" / "bin" / f"python{HERE}"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    assert script.find_python(HERE) == str(python)


def test_a_python_of_another_version_is_not(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON399", sys.executable)
    assert script.find_python("3.99") is None
    monkeypatch.setenv("PYTHON399", "/no/such/python")
    assert script.find_python("3.99") is None


def test_the_summary_counts_and_names(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(REPORT)
    ran = script.Outcome("3.11", "all", seconds=1234.5)
    script.count(tmp_path / "junit.xml", ran)
    missing = script.Outcome("3.12", "quick", trouble="not on this machine", missing=True)
    assert script.summary([ran, missing]) == [
        "Summary",
        "  Python  tests  passed  failed  skipped  seconds",
        "  3.11    all         1       2        2    1,234",
        "  3.12    quick  not on this machine",
        "  3.11 failed: tests.a::bad",
        "  3.11 failed: tests.a::broken",
        "  3.11 skipped 2: no browser",
    ]
    assert not ran.good
    assert missing.good


def test_a_python_that_cannot_be_set_up_fails_without_ending_the_others(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(python: str, version: str) -> Path:
        raise script.subprocess.CalledProcessError(2, "make")

    def ran(python: Path, version: str, tests: str) -> object:
        return script.Outcome(version, tests, passed=3)

    monkeypatch.setattr(script, "_environment", nowhere)
    monkeypatch.setattr(script, "_provide_browser", lambda: None)
    monkeypatch.setattr(script, "find_python", lambda version: sys.executable)
    monkeypatch.setattr(script, "run_tests", ran)
    assert script.main() == 1
    said = capsys.readouterr().out
    assert said.count("it cannot be set up") == len(script.VERSIONS) - 1
