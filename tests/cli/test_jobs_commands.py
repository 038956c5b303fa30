"""`houndsight jobs | logs | stop | endpoints`, which work whether or not the platform runs."""

from __future__ import annotations

import json
import re
import sys

import pytest
from typer.testing import CliRunner

from houndsight.cli import main as command
from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.local.logs import TimeIndex
from houndsight.jobs.states import Kind
from houndsight.jobs.status import JobState, JobStatus
from houndsight.jobs.store import JobStore, Record


@pytest.fixture
def home() -> PlatformHome:
    """A platform with a finished job, a failed one, a running one, and an endpoint."""
    home = PlatformHome.default()
    store = JobStore(home.database)
    for number, (name, state, reason) in enumerate(
        (
            ("dogs-2026-01", JobState.COMPLETED, ""),
            ("dogs-2026-02", JobState.FAILED, "The [red] disk\nis full."),
            ("cats", JobState.TRAINING, ""),
        )
    ):
        folder = home.training_job(name)
        status = JobStatus().moved(state, "", 1.0, failure_reason=reason)
        store.add(
            Record(
                kind=Kind.TRAINING_JOB,
                name=name,
                arn=name,
                status=state.primary,
                created=float(number),
                detail={**status.to_json(), "hosts": ["algo-1"]},
                handle={"engine": "local", "folder": str(folder.path)},
            )
        )
        host = folder.host("algo-1")
        host.path.mkdir(parents=True)
        host.log.write_text(f"hello from {name}\nunfinished")
        TimeIndex(host.log_times).add(host.log.stat().st_size, 1_000)
    store.add(
        Record(
            kind=Kind.ENDPOINT,
            name="breeds",
            arn="e",
            status="Failed",
            request={"EndpointConfigName": "breeds-1"},
            detail={"failure_reason": "No model_fn."},
        )
    )
    store.close()
    return home


def said(*arguments: str) -> str:
    result = CliRunner().invoke(command.app, list(arguments), env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["houndsight", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    return capsys.readouterr().err


def test_jobs_are_listed_the_newest_first_with_what_they_say(home: PlatformHome) -> None:
    rows = [json.loads(line) for line in said("jobs", "--json").splitlines()]
    assert [row["name"] for row in rows] == ["cats", "dogs-2026-02", "dogs-2026-01"]
    assert (rows[0]["status"], rows[0]["state"]) == ("InProgress", "Training")
    table = said("jobs")
    assert "InProgress, Training" in table
    assert "The [red] disk is full." in table
    assert "cats" not in said("jobs", "--status", "Failed")


def test_logs_are_printed_line_by_line_and_the_end_is_told(home: PlatformHome) -> None:
    assert said("logs", "cats") == "hello from cats\n"
    assert said("logs", "dogs-2026-01", "--follow").startswith(
        "hello from dogs-2026-01\nunfinished\n"
    )
    assert "is Failed. The [red] disk" in said("logs", "dogs-2026-02")


def test_a_name_may_be_shortened_while_it_is_clear(
    home: PlatformHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hello from cats" in said("logs", "ca")
    assert "Several begin with dogs" in refused(monkeypatch, capsys, "logs", "dogs")
    missing = refused(monkeypatch, capsys, "logs", "catz")
    assert "There is no training job or endpoint catz; did you mean cats?" in missing
    assert "no host '../x'" in refused(monkeypatch, capsys, "logs", "cats", "--host", "../x")


def test_a_running_job_is_stopped_also_without_the_control_plane(
    home: PlatformHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "cats is stopping" in said("stop", "cats")
    assert home.training_job("cats").stop.exists()
    ended = refused(monkeypatch, capsys, "stop", "dogs-2026-01")
    assert "dogs-2026-01 is Completed already" in ended


def test_endpoints_are_listed(home: PlatformHome) -> None:
    table = said("endpoints")
    assert re.search(r"Failed\s+.* ago\s+breeds\s+\(breeds-1\) No model_fn", table)
    assert json.loads(said("endpoints", "--json"))["name"] == "breeds"


@pytest.mark.parametrize("command_name", ["jobs", "endpoints"])
def test_nothing_is_cut_on_a_narrow_terminal(home: PlatformHome, command_name: str) -> None:
    name = "pytorch-inference-2026-11-23-12-27-20-644"
    store = JobStore(home.database)
    reason = "AlgorithmError: " + "word " * 100
    status = JobStatus().moved(JobState.MAX_RUNTIME_EXCEEDED, "", 1.0, failure_reason=reason)
    kind = Kind.TRAINING_JOB if command_name == "jobs" else Kind.ENDPOINT
    store.add(Record(kind=kind, name=name, arn=name, status="Stopped", detail=status.to_json()))
    store.close()
    result = CliRunner().invoke(command.app, [command_name], env={"COLUMNS": "80"})
    words = "".join(result.output.split())
    assert name in words.replace("MaxRuntimeExceeded", "")
    assert ("MaxRuntimeExceeded" in words) == (command_name == "jobs")
    assert result.output.count("…") == 1  # the long reason alone
    assert max(map(len, result.output.splitlines())) <= 80


def test_a_job_that_ended_without_the_platform_is_known_to_have(
    home: PlatformHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = JobStatus().moved(JobState.COMPLETED, "", 2.0)
    status.write(home.training_job("cats").status)
    assert "cats is Completed." in said("logs", "cats", "--follow")
    assert "InProgress" not in said("jobs")
    assert "cats" not in said("jobs", "--status", "InProgress")
    assert "cats is Completed already" in refused(monkeypatch, capsys, "stop", "cats")


def test_nobody_waits_for_a_job_that_nothing_starts(home: PlatformHome) -> None:
    store = JobStore(home.database)
    detail = JobStatus().moved(JobState.PENDING, "", 1.0).to_json()
    kind = Kind.TRAINING_JOB
    store.add(Record(kind=kind, name="later", arn="l", status="InProgress", detail=detail))
    store.close()
    assert "houndsight up starts the platform" in said("logs", "later", "--follow")


def test_logs_of_an_endpoint_are_printed_also_when_it_is_deleted(
    home: PlatformHome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home.endpoint("breeds")
    for variant, text in (("AllTraffic", "loading\nready\n"), ("Second", "elsewhere\n")):
        stream = folder.stream(variant, "i-1")
        stream.path.mkdir(parents=True)
        stream.log.write_text(text)
        TimeIndex(stream.log_times).add(stream.log.stat().st_size, 1_000)
    output = said("logs", "bre")
    assert "==> AllTraffic/i-1 <==\nloading\nready\n" in output
    assert "==> Second/i-1 <==\nelsewhere\n" in output
    assert "breeds is Failed." in output
    assert "ready" not in said("logs", "breeds", "--host", "Second/i-1", "--follow")
    assert "no log stream 'x'; it has AllTraffic/i-1, Second/i-1" in refused(
        monkeypatch, capsys, "logs", "breeds", "--host", "x"
    )
    store = JobStore(home.database)
    store.delete(Kind.ENDPOINT, "breeds")
    store.close()
    output = said("logs", "breeds", "--follow")
    assert "ready" in output
    assert "breeds is deleted." in output
    assert "There is no training job or endpoint .." in refused(monkeypatch, capsys, "logs", "..")


@pytest.mark.parametrize("name", ["jobs", "endpoints", "logs", "stop"])
def test_without_a_platform_the_way_to_one_is_told(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [name] if name in ("jobs", "endpoints") else [name, "job"]
    assert "houndsight up" in refused(monkeypatch, capsys, *arguments)


@pytest.mark.parametrize("name", ["jobs", "endpoints", "logs", "stop"])
def test_help_speaks_of_what_to_type(name: str) -> None:
    assert not re.search(r"<\w+( range)?>|list\[", said(name, "--help"))
