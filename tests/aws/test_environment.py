"""The variables, as shells take them: whatever stands in a path or a secret."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest
import yaml

from houndsight.aws.environment import COMPAT_PATH, client_environment, shell_lines
from houndsight.aws.keys import AccessKey
from houndsight.errors import SettingError
from houndsight.jobs.layout import PlatformHome

ADDRESS = "http://127.0.0.1:8765"
NASTY = "a b'c\"d$e`f\\g;h&i*j\u00e4"


def made(tmp_path: Path, environ: dict[str, str] | None = None, secret: str = "secret") -> object:
    home = PlatformHome(tmp_path / NASTY / "platform")
    key = AccessKey("default", "HOUND0", secret, 0.0)
    return client_environment(home, ADDRESS, key, environ or {})


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "dash", "fish"])
def test_a_shell_that_evaluates_the_lines_has_the_variables(tmp_path: Path, shell: str) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    environment = made(tmp_path, secret=NASTY)
    text = "\n".join(shell_lines(environment, "fish" if shell == "fish" else "sh"))  # type: ignore[arg-type]
    show = f'"{sys.executable}" -c "import os; print(repr(dict(os.environ)))"'
    before = {"PATH": os.environ["PATH"], "AWS_PROFILE": "work", "AWS_SESSION_TOKEN": "old"}
    if shell == "fish":
        command = [found, "--no-config", "-c", f"{text}\n{show}"]
    else:
        command = [found, "-c", f'eval "$TEXT"\n{show}']
    run = subprocess.run(
        command, env={**before, "TEXT": text}, capture_output=True, text=True, check=True
    )
    values = eval(run.stdout)
    for name, value in environment.values.items():  # type: ignore[attr-defined]
        assert values[name] == value
    assert not values.keys() & {"AWS_PROFILE", "AWS_SESSION_TOKEN"}


def test_a_store_of_ones_own_does_not_get_what_is_meant_for_the_platform(tmp_path: Path) -> None:
    for service in ("s3", "sts", "iam", "logs", "cloudwatch", "sagemaker", "sagemaker-runtime"):
        model = botocore.session.Session().get_service_model(service)
        name = f"AWS_ENDPOINT_URL_{str(model.service_id).upper().replace(' ', '_')}"
        assert name in made(tmp_path).unset  # type: ignore[attr-defined]


def test_lists_are_kept_and_not_grown_twice(tmp_path: Path) -> None:
    environ = {"PYTHONPATH": "/mine", "NO_PROXY": "intra", "PIP_CONSTRAINT": "mine.txt"}
    first = made(tmp_path, environ).values  # type: ignore[attr-defined]
    assert first["PYTHONPATH"] == f"{COMPAT_PATH}{os.pathsep}/mine"
    assert first["NO_PROXY"] == "localhost,127.0.0.1,intra"
    assert first["PIP_CONSTRAINT"].split()[1:] == ["mine.txt"]
    assert " " not in first["PIP_CONSTRAINT"].split()[0]
    assert made(tmp_path, first).values == first  # type: ignore[attr-defined]


def test_the_sdk_is_told_to_send_no_telemetry(tmp_path: Path) -> None:
    values = made(tmp_path).values  # type: ignore[attr-defined]
    written = yaml.safe_load(Path(values["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"]).read_text())
    assert written["SageMaker"]["PythonSDK"]["Modules"]["TelemetryOptOut"] is True


def test_only_known_shells(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="must be one of sh, fish"):
        shell_lines(made(tmp_path), "tcsh")  # type: ignore[arg-type]
