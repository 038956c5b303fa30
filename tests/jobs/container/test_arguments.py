"""Hyperparameters on their way to a script's `sys.argv`, through the shell."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.jobs.container.arguments import command_line, has_shell_syntax, to_arguments
from houndsight.jobs.container.hyperparameters import Hyperparameters

PRINT = "import json, sys; print(json.dumps(sys.argv[1:]))"

# What the client sends as the value of `x`, and what follows `-x` in the script's sys.argv.
ARRIVES = [
    ("32", ["32"]),
    ("0.01", ["0.01"]),
    ("1e-05", ["1e-05"]),
    ('"32"', ["32"]),
    (json.dumps('"16"'), ["16"]),  # best_estimator().hyperparameters() given to a new estimator
    (json.dumps("'16'"), ["16"]),
    (json.dumps("a b"), ["a b"]),
    ("a b", ["a b"]),
    ("resnet50", ["resnet50"]),
    ("true", ["True"]),
    ("false", ["False"]),
    ('"True"', ["True"]),
    ("null", []),
    ('""', []),
    ("", []),
    ("[1, 2]", ["[1, 2]"]),
    ('["algo-1"]', ["['algo-1']"]),
    ('{"a": 1}', ["a=1"]),
    ('{"b": 2, "a": "x"}', ["a=x,b=2"]),
    (json.dumps('{"a": 1}'), ['{"a": 1}']),
    (json.dumps("it's"), ["it's"]),
    (json.dumps("http://x/y?a=1&b=2"), ["http://x/y?a=1&b=2"]),
    (json.dumps("a;b|c>d"), ["a;b|c>d"]),
    (json.dumps("*.jpg"), ["*.jpg"]),
    (json.dumps("$X_DIR/train"), ["/data/train"]),
    (json.dumps("${X_DIR}/my photos"), ["/data/my photos"]),
    (json.dumps('"$X_DIR"'), ["/data"]),
    (json.dumps("$(echo 4)"), ["4"]),
    (json.dumps("costs 5$"), ["costs 5$"]),
    (json.dumps("`ls`"), ["`ls`"]),
    (json.dumps("back\\slash"), ["back\\slash"]),
    (json.dumps("s3://bucket/a/b.tar.gz"), ["s3://bucket/a/b.tar.gz"]),
    (json.dumps("photo 日本"), ["photo 日本"]),
]


def _argv(words: list[str]) -> list[str]:
    line = command_line([sys.executable, "-c", PRINT, *words])
    environment = {"X_DIR": "/data", "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_values_arrive_as_from_sagemaker():
    # One shell for all: names that sort as the list does.
    sent = {f"n{i:02d}": value for i, (value, _) in enumerate(ARRIVES)}
    arrived = _argv(to_arguments(Hyperparameters.parse(sent).user))
    expected = []
    for number, (_, value) in enumerate(ARRIVES):
        expected += [f"--n{number:02d}", *value]
    assert arrived == expected


def test_names_are_sorted_and_containers_own_are_left_out():
    parsed = Hyperparameters.parse(
        {
            "z": "1",
            "batch-size": "32",
            "sagemaker_program": '"train.py"',
            "sagemaker_mpi_enabled": "true",
            "sagemaker_container_log_level": "20",
            "_tuning_objective_metric": "Test Loss",
            "b": "true",
        }
    )
    assert to_arguments(parsed.user) == ["-b", "True", "--batch-size", "32", "-z", "1"]
    assert parsed.text("program") == "train.py"
    assert parsed.enabled("mpi_enabled")
    assert parsed.framework == {"sagemaker_mpi_enabled": True}


@pytest.mark.parametrize("value", ["$HOME", "${HOME}", "$(nproc)", '"$HOME"'])
def test_only_more_than_quotes_needs_a_shell(value):
    assert has_shell_syntax(["--x", value])


@pytest.mark.parametrize("value", ["'$HOME'", '"16"', "a b", "5$", "`x`", "a;b"])
def test_quotes_need_none(value):
    assert not has_shell_syntax(["--x", value])


UNQUOTED = st.characters(exclude_categories=["Cs"], exclude_characters="\0'\"$")


@settings(max_examples=25)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0'\"$"), min_size=1)
    )
)
def test_without_quotes_every_text_arrives_as_it_is(values):
    assert _argv(values) == values
