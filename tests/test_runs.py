"""The run folder: one writer, nothing half, and sentences for what cannot be read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from houndsight.errors import RunError, RunLockedError
from houndsight.runs import MetricsLog, Run, RunStatus


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", kind="run", config={"data": {"seed": 3}})


def test_what_is_recorded_is_read_again(run: Run) -> None:
    run.set_plan({"epochs": 3})
    run.finish_stage("check", seconds=1.23456, text="Checked.")
    run.set_results(splits={"train": 8})
    run.set_results(model="linear probe")
    run.set_status(RunStatus.COMPLETED)
    again = Run.open(run.folder)
    assert again.config == {"data": {"seed": 3}}
    assert again.plan == {"epochs": 3}
    assert again.stages == {"check": {"seconds": 1.235, "text": "Checked."}}
    assert again.results == {"splits": {"train": 8}, "model": "linear probe"}
    assert again.status == RunStatus.COMPLETED
    assert again.reason == ""
    run.set_status(RunStatus.FAILED, "The disk is full.")
    assert Run.open(run.folder).reason == "The disk is full."


def test_a_folder_takes_one_run(run: Run) -> None:
    with pytest.raises(RunError, match="holds a run already"):
        Run.create(run.folder, kind="run", config={})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it has no run.json"),
        ("{", "cannot be read"),
        ("[]", "is not a Houndsight run"),
        ('{"v": 999}', "newer than this version"),
    ],
)
def test_what_is_no_run_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=said):
        Run.open(tmp_path)


def test_a_second_writer_is_refused_until_the_first_dies(run: Run) -> None:
    script = (
        "import sys, time; from houndsight.runs import Run\n"
        f"with Run.open({str(run.folder)!r}).lock():\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RunLockedError, match=str(process.pid)), run.lock():
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with run.lock():
        pass


def test_a_reader_never_meets_half_a_record(run: Run) -> None:
    for number in range(20):
        run.set_results(number=number, filler="x" * 10_000)
        assert json.loads((run.folder / "run.json").read_text())["results"]["number"] == number
    assert [p.name for p in run.folder.iterdir() if p.name.startswith(".")] == []


def test_metrics_keep_what_is_not_finite_and_survive_a_torn_line(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(split="train", step=1, epoch=0, loss=float("inf"), top1=0.5)
    with log.path.open("ab") as file:
        file.write(b'{"split": "tra')
    log.write(split="valid", step=2, epoch=0, loss=1.5)
    rows = log.read()
    assert [row["split"] for row in rows] == ["train", "valid"]
    assert rows[0]["loss"] == float("inf")
    assert [row["step"] for row in log.read("valid")] == [2]


def test_a_damaged_record_is_a_sentence(run: Run) -> None:
    path = run.folder / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"status": "asleep"}))
    with pytest.raises(RunError, match="its status is unknown"):
        Run.open(run.folder)
    del record["results"]
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match="it lacks results"):
        Run.open(run.folder)
