"""The command as a person meets it: sentences instead of tracebacks, nothing ignored."""

from __future__ import annotations

import errno
import io
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from houndsight.cli import main as command
from houndsight.cli.findings import print_findings
from houndsight.cli.progress import ProgressDisplay
from houndsight.events import StageEnded
from houndsight.findings import Cause, Finding, Severity
from houndsight.pipeline import RunConfig, open_or_create
from houndsight.runs import Run, RunStatus
from houndsight.stages.settings import RunSettings


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["houndsight", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def config(**settings: object) -> RunConfig:
    return RunConfig(source="photos", run=RunSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "finished work is kept"),
        (OSError(errno.ENOSPC, "No space left on device", "run/x"), 1, "run/x cannot be written"),
    ],
)
def test_what_ends_a_command_from_outside_is_a_sentence(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def strike(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Run, "open", strike)
    assert ended(monkeypatch, "findings", "run") == code
    assert said in capsys.readouterr().err


def test_resume_refuses_settings_that_it_would_ignore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.create(tmp_path / "run", kind="run", config=config().to_json())
    code = ended(monkeypatch, "run", "--resume", str(tmp_path / "run"), "--minutes", "3")
    assert code == 2
    assert "takes no --minutes" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--link", "--backend"])
def test_predict_names_a_wrong_choice_before_it_computes(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "predict", "no-model", "photo.jpg", option, "wrong") == 2
    assert f"{option} is 'wrong'" in capsys.readouterr().err


def test_a_run_that_failed_before_it_made_anything_takes_other_settings(tmp_path: Path) -> None:
    failed = Run.create(tmp_path / "run", kind="run", config=config(backbone="resnet5").to_json())
    failed.finish_stage("check", seconds=1.0)
    failed.set_status(RunStatus.FAILED, "There is no backbone 'resnet5'.")
    again = open_or_create(tmp_path / "run", config(backbone="resnet50"))
    assert again.config["run"]["backbone"] == "resnet50"
    assert not Run.open(tmp_path / "run").stages


def test_brackets_in_names_are_printed_and_a_log_line_stays_one_line() -> None:
    output = io.StringIO()
    text = "Backbone /weights/[red]/" + "long" * 40
    ProgressDisplay(Console(file=output, width=60))(StageEnded(stage="x", seconds=1.0, text=text))
    assert output.getvalue() == f"✓ {text} 1.0 s\n"


def test_long_findings_hang_below_their_first_line() -> None:
    output = io.StringIO()
    cause = Cause(text="word " * 30, fix="Do it.", evidence="")
    finding = Finding(
        rule="Rule", where="", severity=Severity.INFO, title="title " * 30, causes=(cause,)
    )
    print_findings([finding], Console(file=output, width=60))
    lines = [line for line in output.getvalue().splitlines() if "word" in line]
    assert len(lines) > 1
    assert len({line.index("word") for line in lines}) == 1


def test_findings_name_some_of_the_photos() -> None:
    output = io.StringIO()
    finding = Finding(
        rule="DarkPhotos", where="", severity=Severity.INFO, title="Dark.", count=5,
        causes=(Cause(text="Night.", fix="Wait."),), examples=("a.jpg", "b\x1b.jpg", "c", "d"),
    )  # fmt: skip
    print_findings([finding], Console(file=output, width=80), examples=True)
    assert "as in a.jpg, b?.jpg, c and 2 more" in output.getvalue()


COMMANDS = ["run", "check", "predict", "serve", "compare", "report", "findings", "config", "cache"]


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)])
def test_help_speaks_of_what_to_type(arguments: list[str]) -> None:
    result = CliRunner().invoke(command.app, [*arguments, "--help"])
    assert result.exit_code == 0
    assert not re.search(r"<\w+( range)?>|list\[", result.output)
