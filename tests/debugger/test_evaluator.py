"""The evaluator: live and afterwards alike, rows that come later, a training that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from houndsight.debugger.evaluator import Evaluator, judge_folder, start_evaluator
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.rules import make_rules
from houndsight.debugger.tensor_writer import TensorWriter
from houndsight.debugger.testing import Recording, healthy
from houndsight.errors import RunError
from houndsight.findings import State, read_findings

NOT_FINITE: dict[str, dict[str, str]] = {"ExplodingTensor": {}}


def ill() -> Recording:
    return healthy(40).changed(
        Group.GRADIENTS, Statistic.NORM, lambda values, row: values * np.nan, steps=range(20, 40)
    )


def write(
    recording: Recording, folder: Path, first: int = 0, last: int = 10**9, *, ended: bool = False
) -> None:
    rank = folder / "tensors" / "rank-0"
    writer = TensorWriter(rank)
    recording.structure.write(rank / "structure.json")
    writer.write_rows(row for row in recording.rows if first <= row.step <= last)
    writer.close(ended=ended)


def test_a_recorded_run_is_judged_and_its_findings_written(tmp_path: Path) -> None:
    write(ill(), tmp_path)
    found = judge_folder(tmp_path, make_rules(NOT_FINITE))
    assert found and {f.rule for f in found} == {"ExplodingTensor"}
    assert {f.key for f in read_findings(tmp_path / "findings.jsonl")} == {f.key for f in found}
    verdicts = json.loads((tmp_path / "rules.json").read_text())
    assert [v["standing"] for v in verdicts["rules"]] == ["judged"]


def test_looking_while_it_trains_says_the_same_in_the_end(tmp_path: Path) -> None:
    live, whole = tmp_path / "live", tmp_path / "whole"
    recording = ill()
    evaluator = Evaluator(live, make_rules(NOT_FINITE))
    assert evaluator.look() == []
    for first in range(0, 40, 8):
        write(recording, live, first, first + 7)
        evaluator.look()
    write(recording, whole)
    at_once = judge_folder(whole, make_rules(NOT_FINITE))
    assert {f.key: f for f in evaluator.look()} == {f.key: f for f in at_once}
    assert read_findings(live / "findings.jsonl") == read_findings(whole / "findings.jsonl")


def test_nothing_is_written_again_while_nothing_changes(tmp_path: Path) -> None:
    write(ill(), tmp_path)
    evaluator = Evaluator(tmp_path, make_rules(NOT_FINITE))
    evaluator.look()
    before = (tmp_path / "findings.jsonl").read_bytes()
    evaluator.look()
    Evaluator(tmp_path, make_rules(NOT_FINITE)).look()
    assert (tmp_path / "findings.jsonl").read_bytes() == before


def test_a_fault_that_goes_on_is_told_again_seldom_and_in_full_at_the_end(tmp_path: Path) -> None:
    recording = ill()
    evaluator = Evaluator(tmp_path, make_rules(NOT_FINITE))
    for step in range(40):
        write(recording, tmp_path, step, step)
        evaluator.look(last=False)
    lines = (tmp_path / "findings.jsonl").read_text().count("\n")
    names = {f.key for f in evaluator.look()}
    assert names and lines <= 2 * len(names)
    found = read_findings(tmp_path / "findings.jsonl")
    assert {f.last_step for f in found} == {39}


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no tensor log"):
        judge_folder(tmp_path)


def test_the_process_judges_to_the_end_and_leaves_after_its_parent(tmp_path: Path) -> None:
    write(ill(), tmp_path)
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    command = [sys.executable, "-m", "houndsight.debugger.evaluator", str(tmp_path)]
    command += ["--parent", str(parent.pid), "--rules", json.dumps(NOT_FINITE)]
    process = subprocess.Popen(command)
    try:
        _until(lambda: bool(read_findings(tmp_path / "findings.jsonl")))
        assert process.poll() is None
        parent.kill()
        parent.wait()
        assert process.wait(60) == 0
    finally:
        for each in (parent, process):
            each.kill()
            each.wait()


def test_it_ends_when_the_training_says_so(tmp_path: Path) -> None:
    write(ill(), tmp_path, ended=True)
    process = start_evaluator(tmp_path, NOT_FINITE)
    assert process.wait(60) == 0, (tmp_path / "logs" / "evaluator.log").read_text()
    assert all(f.state == State.OPEN for f in read_findings(tmp_path / "findings.jsonl"))
    assert (tmp_path / "rules.json").exists()


def _until(done: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
