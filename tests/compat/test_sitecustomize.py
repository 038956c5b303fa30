"""The sitecustomize: the one behind runs first, STS follows, nothing else changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from houndsight.aws.environment import COMPAT_PATH

WATCH = COMPAT_PATH.parents[1] / "debugger" / "watch" / "site"
STS = "https://sts.us-east-1.amazonaws.com"


def python(script: str, *path: Path, **environ: str) -> str:
    """What a fresh Python prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, "PYTHONPATH": os.pathsep.join(map(str, path)), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout.strip()


def asked(endpoint: str | None, service: str = "sts") -> str:
    named = "" if endpoint is None else f", endpoint_url={endpoint!r}"
    return (
        "import boto3\n"
        "keys = dict(aws_access_key_id='a', aws_secret_access_key='b', region_name='us-east-1')\n"
        f"print(boto3.client({service!r}, **keys{named}).meta.endpoint_url)"
    )


@pytest.mark.parametrize(
    ("endpoint", "active", "reached"),
    [
        (STS, True, "http://127.0.0.1:9"),
        ("https://sts.amazonaws.com", True, "http://127.0.0.1:9"),
        (None, True, "http://127.0.0.1:9"),
        ("http://127.0.0.1:7", True, "http://127.0.0.1:7"),
        ("https://sts.evil.example", True, "https://sts.evil.example"),
        (STS, False, STS),
    ],
)
def test_sts_follows_while_the_local_endpoint_is_set(
    endpoint: str | None, active: bool, reached: str
) -> None:
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"} if active else {}
    assert python(asked(endpoint), COMPAT_PATH, **environ) == reached


def test_other_services_go_where_they_are_sent() -> None:
    there = "https://s3.us-east-1.amazonaws.com"
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert python(asked(there, "s3"), COMPAT_PATH, **environ) == there


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; heavy = {'botocore', 'torch', 'pathlib', 'houndsight', 'numpy', 'asyncio'};"
        "print(sorted(heavy & set(sys.modules)), 'sitecustomize' in sys.modules)"
    )
    plain = python("import sys; print('pathlib' in sys.modules)")
    expected = "['pathlib'] True" if plain == "True" else "[] True"
    assert python(script, COMPAT_PATH) == expected


@pytest.mark.parametrize("first", [COMPAT_PATH, WATCH])
def test_the_one_that_stands_behind_runs_once(tmp_path: Path, first: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.ran = getattr(sys, 'ran', 0) + 1")
    second = WATCH if first == COMPAT_PATH else COMPAT_PATH
    assert python("import sys; print(sys.ran)", first, second, tmp_path) == "1"


def test_a_function_is_called_after_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("loaded = True")
    (tmp_path / "watching.py").write_text(
        "def begin():\n    import torch\n    print('watched', torch.loaded)\n"
    )
    script = "print('before')\nimport torch\nprint('after')\nimport sitecustomize\n"
    script += "sitecustomize.begin()"
    said = python(script, COMPAT_PATH, tmp_path, HOUNDSIGHT_JOB_WATCH="watching:begin")
    assert said.split("\n") == ["before", "watched True", "after"]
    assert "watched" not in python(script, COMPAT_PATH, tmp_path)


def test_a_function_that_fails_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    run = subprocess.run(
        [sys.executable, "-c", "import torch; print('went on')"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (COMPAT_PATH, tmp_path))),
            "HOUNDSIGHT_JOB_WATCH": "nowhere:begin",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "went on"
    assert "nowhere:begin could not be called" in run.stderr


def test_a_forked_process_begins_with_another_environment(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "watching.py").write_text("def begin():\n    print('watched')\n")
    script = (
        "import os, torch, sitecustomize\nsitecustomize.begin()\n"
        "os.environ['HOUNDSIGHT_JOB_WATCH'] = 'watching:begin'\n"
        "sitecustomize.begin()\nsitecustomize.begin()"
    )
    assert python(script, COMPAT_PATH, tmp_path) == "watched"


def test_a_process_that_had_it_already_runs_it_again() -> None:
    """The launcher, of a platform that was started in a shell which speaks to one, forks."""
    again = f"import sys; del sys.modules['sitecustomize']; import sitecustomize\n{asked(STS)}"
    reached = "http://127.0.0.1:9"
    assert python(again, COMPAT_PATH, AWS_ENDPOINT_URL=reached) == reached
