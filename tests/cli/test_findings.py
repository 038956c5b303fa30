"""`houndsight findings`: judged when it must be, followed, and every rule with its standing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from houndsight.cli.main import app
from houndsight.debugger.record import Group, Statistic
from houndsight.debugger.tensor_writer import TensorWriter
from houndsight.debugger.testing import Recording, healthy
from houndsight.findings import Cause, Finding, Severity
from houndsight.runs import Run, RunStatus


def recorded(folder: Path, recording: Recording) -> Run:
    """A run as a hook leaves it that nobody asked for findings."""
    run = Run.create(folder, kind="job", config={})
    writer = TensorWriter(folder / "tensors" / "rank-0")
    recording.structure.write(folder / "tensors" / "rank-0" / "structure.json")
    writer.write_rows(iter(recording.rows))
    writer.close(ended=True)
    run.set_status(RunStatus.COMPLETED)
    return run


def told(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["findings", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def ill() -> Recording:
    return healthy(40).changed(
        Group.GRADIENTS, Statistic.NORM, lambda values, row: values * np.nan, steps=range(20, 40)
    )


def test_a_log_that_nobody_judged_is_judged_and_diagnosed(tmp_path: Path) -> None:
    recorded(tmp_path / "run", ill())
    text = told(str(tmp_path / "run"))
    assert text.startswith("Diagnosis") and "ExplodingTensor" in text
    assert text.index("Diagnosis") < text.index("cause")
    before = (tmp_path / "run" / "rules.json").stat().st_mtime_ns
    told(str(tmp_path / "run"))
    assert (tmp_path / "run" / "rules.json").stat().st_mtime_ns == before


def test_a_healthy_training_gets_no_diagnosis(tmp_path: Path) -> None:
    recorded(tmp_path / "run", healthy(60))
    assert "Diagnosis" not in told(str(tmp_path / "run"))


def test_every_rule_stands_with_its_reason(tmp_path: Path) -> None:
    recorded(tmp_path / "run", ill())
    text = told(str(tmp_path / "run"), "--rules")
    assert "ExplodingTensor" in text and "judged" in text and "not applicable" in text
    assert "Judged up to step 39" in text
    rows = [
        json.loads(line) for line in told(str(tmp_path / "run"), "--rules", "--json").splitlines()
    ]
    assert {row["standing"] for row in rows} >= {"judged", "not applicable"}
    assert all(row["reason"] for row in rows if row["standing"] == "not applicable")


def test_a_run_without_a_training_has_no_verdicts(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", kind="job", config={})
    done = CliRunner().invoke(app, ["findings", str(tmp_path / "run"), "--rules"])
    assert done.exit_code == 1 and "no verdicts" in str(done.exception)


@pytest.mark.parametrize("as_json", [False, True])
def test_findings_are_followed_until_the_run_ends(tmp_path: Path, as_json: bool) -> None:
    run = Run.create(tmp_path / "run", kind="job", config={})

    def train() -> None:
        for rule in ("First", "Second"):
            time.sleep(0.3)
            cause = Cause(text="Something.", fix="Change it.")
            finding = Finding(
                rule=rule, where="", severity=Severity.WARNING, title=f"{rule}.", causes=(cause,)
            )
            run.add_findings([finding])
        run.set_status(RunStatus.COMPLETED)

    thread = threading.Thread(target=train)
    thread.start()
    text = told(str(tmp_path / "run"), "--follow", *(["--json"] if as_json else []))
    thread.join()
    assert text.index("First") < text.index("Second")
    if as_json:
        assert [json.loads(line)["rule"] for line in text.splitlines()] == ["First", "Second"]
    else:
        assert "The run is completed." in text


def test_a_run_that_is_still_being_judged_says_so(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", ill())
    waiting = "import sys, time; print(); sys.stdout.flush(); time.sleep(60)"
    command = [sys.executable, "-c", waiting, str(run.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as judge:
        assert judge.stdout is not None
        judge.stdout.readline()
        (run.folder / "logs").mkdir(exist_ok=True)
        (run.folder / "logs" / "evaluator.pid").write_text(str(judge.pid))
        done = CliRunner().invoke(app, ["findings", str(run.folder), "--rules"])
        judge.kill()
    assert done.exit_code != 0
    assert "still being judged" in str(done.exception) + done.output
