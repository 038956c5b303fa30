"""Killed at any moment, a training goes on and ends with the same bits."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "crash_points.py"
EPOCHS, STEPS_AN_EPOCH, EVENTS = 3, 3, 83
MOMENTS = {
    "SIGKILL:2": 0,
    "SIGKILL:28": 3,
    "SIGKILL:50": 3,
    "SIGKILL:83": 9,
    "saving:1": 0,
    "saving:3": 3,
    "SIGTERM:9": 2,
    "SIGTERM:24": 3,
    "SIGTERM:40": 5,
}
"""When to die, and the step that the next process goes on from: after SIGKILL the last finished
epoch, after SIGTERM the step under way (also when a validation is under way, as at 24)."""


def _crash(folder: Path, *moments: str) -> tuple[dict[str, Any], list[Any]]:
    command = [sys.executable, str(SCRIPT), str(folder), *moments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1100)
    assert done.returncode == 0, done.stderr
    whole, *crashed = [json.loads(line) for line in done.stdout.splitlines()]
    return whole, crashed


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The uninterrupted training, and those that died at a few moments."""
    whole, crashed = _crash(tmp_path_factory.mktemp("crashes"), *MOMENTS)
    return whole, dict(zip(MOMENTS, crashed, strict=True))


def _assert_goes_on(whole: dict[str, Any], crashed: dict[str, Any]) -> None:
    assert crashed["again"] == 0
    for key in ("weights", "metrics", "history", "best_epoch"):
        assert crashed[key] == whole[key], f"{key} after a crash at {crashed['at']}"
    assert crashed["first_step"] + crashed["steps_run"] == whole["steps_run"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_ends_with_the_same_bits_and_repeats_at_most_an_epoch(
    crashes: tuple[dict[str, Any], dict[str, Any]], moment: str
) -> None:
    whole, crashed = crashes[0], crashes[1][moment]
    assert whole["steps_run"] == EPOCHS * STEPS_AN_EPOCH and whole["events"] == EVENTS
    _assert_goes_on(whole, crashed)
    assert crashed["ended"] == (-signal.SIGTERM if "TERM" in moment else -signal.SIGKILL)
    assert crashed["first_step"] == MOMENTS[moment]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM"])
def test_at_every_event(tmp_path: Path, kind: str) -> None:
    whole, crashed = _crash(tmp_path, f"{kind}:every")
    assert len(crashed) == EVENTS
    for each in crashed:
        _assert_goes_on(whole, each)
