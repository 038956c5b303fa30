"""up, env, exec, notebook, keys and down, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import pytest

from houndsight.jobs.layout import PlatformHome
from houndsight.jobs.states import Kind
from houndsight.jobs.status import JobState, JobStatus
from houndsight.jobs.store import JobStore, Record

WHO = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


def houndsight(
    *arguments: str, home: Path, check: bool = True, shell: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "houndsight", *arguments],
        env={**kept, "HOUNDSIGHT_HOME": str(home), **(shell or {})},
        capture_output=True,
        text=True,
        check=check,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose platform runs."""
    place = tmp_path_factory.mktemp("it's a home")
    said = houndsight("up", "--port", "0", home=place).stdout
    assert "answers AWS's clients at http://127.0.0.1:" in said
    assert 'eval "$(houndsight env)"' in said
    yield place
    assert houndsight("down", home=place).stdout.startswith("Ended http://127.0.0.1:")
    assert "does not run" in houndsight("down", home=place).stdout


def test_up_again_says_that_it_runs(home: Path) -> None:
    assert "runs already" in houndsight("up", home=home).stdout
    for otherwise in (["--insecure"], ["--allow-host", "dogs.example"]):
        other = houndsight("up", *otherwise, home=home, check=False)
        assert other.returncode == 1
        assert "otherwise than asked for" in other.stderr


def test_a_shell_that_evaluates_env_reaches_the_platform(home: Path) -> None:
    script = f'eval "$("{sys.executable}" -m houndsight env)" && "{sys.executable}" -c "$WHO"'
    run = subprocess.run(
        ["/bin/sh", "-c", script],
        env={**os.environ, "HOUNDSIGHT_HOME": str(home), "WHO": WHO},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "arn:aws:sts::000000000000:assumed-role/houndsight/default"


def test_exec_runs_a_command_there(home: Path) -> None:
    assert "assumed-role" in houndsight("exec", "--", sys.executable, "-c", WHO, home=home).stdout
    ended = houndsight("exec", sys.executable, "-c", "raise SystemExit(7)", home=home, check=False)
    assert ended.returncode == 7
    missing = houndsight("exec", "--", "no-such-command", home=home, check=False)
    assert missing.returncode == 127
    assert "there is no command 'no-such-command'" in missing.stderr
    folder = houndsight("exec", "--", str(home), home=home, check=False)
    assert folder.returncode == 126


def test_without_a_platform_the_way_out_is_said(tmp_path: Path) -> None:
    for command in (["env"], ["exec", "--", "true"], ["notebook"]):
        ended = houndsight(*command, home=tmp_path, check=False)
        assert ended.returncode == 1
        assert "houndsight up starts it" in ended.stderr
        assert ended.stdout == ""


def write_notebook(path: Path, *cells: str) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook.metadata["kernelspec"] = {"name": "conda_pytorch_p36", "display_name": "x"}
    nbformat.write(notebook, path)
    return path


def outputs(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    return ["".join(o.get("text", "") for o in cell.outputs).strip() for cell in notebook.cells]


def test_a_notebook_runs_there_whatever_kernel_it_names(home: Path, tmp_path: Path) -> None:
    file = write_notebook(
        tmp_path / "a notebook.ipynb",
        WHO,
        "import os, sys; print(os.getcwd())",
        "!python -c 'import sys; print(sys.executable)'",
        "import sys; print(sys.executable)",
    )
    said = houndsight("notebook", "--execute", str(file), home=home)
    assert "Every cell ran" in said.stdout
    assert f"[1/4] {WHO[:40]}" in said.stderr
    arn, folder, in_shell, in_kernel = outputs(tmp_path / "a notebook.executed.ipynb")
    assert "assumed-role" in arn
    assert Path(folder) == tmp_path
    assert Path(in_shell).parent == Path(in_kernel).parent


def test_a_cell_that_fails_is_named_and_what_ran_is_kept(home: Path, tmp_path: Path) -> None:
    file = write_notebook(tmp_path / "n.ipynb", "print('one')", "1 / 0", "print('three')")
    output = tmp_path / "out.ipynb"
    ended = houndsight(
        "notebook", "--execute", str(file), "-o", str(output), home=home, check=False
    )
    assert ended.returncode == 1
    assert "Cell 2 failed: ZeroDivisionError: division by zero." in ended.stderr
    assert outputs(output)[0] == "one"
    (tmp_path / "broken.ipynb").write_text("{")
    broken = houndsight(
        "notebook", "--execute", str(tmp_path / "broken.ipynb"), home=home, check=False
    )
    assert "is no notebook" in broken.stderr


def test_where_the_outputs_cannot_go_is_said_before_a_cell_runs(home: Path, tmp_path: Path) -> None:
    file = write_notebook(tmp_path / "n.ipynb", "open('ran', 'w').close()")
    for output in (tmp_path / "none" / "out.ipynb", tmp_path):
        ended = houndsight(
            "notebook", "--execute", str(file), "-o", str(output), home=home, check=False
        )
        assert f"{output} cannot be written: name a file" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert not (tmp_path / "ran").exists()


def test_a_job_is_stopped_whatever_the_shell_says_of_another_account(home: Path) -> None:
    status = JobStatus().moved(JobState.PENDING, "", 1.0)
    store = JobStore(PlatformHome(home / "platform").database)
    detail = {**status.to_json(), "hosts": ["algo-1"]}
    store.add(
        Record(kind=Kind.TRAINING_JOB, name="waits", arn="a", status="InProgress", detail=detail)
    )
    shell = {
        "AWS_PROFILE": "no-such-profile",
        "AWS_ENDPOINT_URL_SAGEMAKER": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "",
        "no_proxy": "",
    }
    assert "waits is stopping" in houndsight("stop", "waits", home=home, shell=shell).stdout
    assert store.get(Kind.TRAINING_JOB, "waits").status == "Stopping"
    store.close()


def test_keys_are_added_listed_and_removed(home: Path) -> None:
    added = houndsight("keys", "add", "ci", home=home).stdout
    values = dict(line.split("=", 1) for line in added.split())
    listed = json.loads(houndsight("keys", "list", "--json", home=home).stdout)
    assert [row["name"] for row in listed] == ["default", "ci"]
    assert listed[1]["access_key"] == values["AWS_ACCESS_KEY_ID"]
    assert values["AWS_SECRET_ACCESS_KEY"] not in houndsight("keys", "list", home=home).stdout
    assert "Removed ci" in houndsight("keys", "remove", "ci", home=home).stdout
    missing = houndsight("keys", "remove", "ci", home=home, check=False)
    assert "There is no key 'ci'; there are default." in missing.stderr


def test_what_it_takes_to_remove_the_key_that_jobs_have_is_said(home: Path) -> None:
    houndsight("keys", "add", "next", home=home)
    said = houndsight("keys", "remove", "default", home=home).stdout
    assert "gives it to its jobs" in said
    assert "houndsight down, then houndsight up" in said
    assert "assumed-role" in houndsight("exec", "--", sys.executable, "-c", WHO, home=home).stdout
