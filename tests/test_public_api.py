"""The command line and the public names change only on purpose.

When a change is meant: `UPDATE_SNAPSHOT=1 python -m pytest tests/test_public_api.py`, and say it
in the changelog.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import houndsight
from houndsight.cli.main import app

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def test_the_public_api_is_the_one_written_down() -> None:
    now = "\n".join([*_names(), "", *_commands()]) + "\n"
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(now)
    assert now == SNAPSHOT.read_text()


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "pyarrow", "openvino", "optuna", "sklearn", "altair")
    script = f"import sys, houndsight; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert loaded.stdout.strip() == b"[]"


def test_help_loads_nothing_heavy() -> None:
    heavy = ("torch", "pandas", "openvino", "optuna", "sklearn", "altair", "pyarrow")
    script = (
        "import sys\nfrom houndsight.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert loaded.stdout.splitlines()[-1] == b"[]"


def _names() -> Iterator[str]:
    for name in sorted(houndsight.__all__):
        if name.startswith("__"):
            continue
        value = getattr(houndsight, name)
        signature = inspect.signature(value.__init__ if inspect.isclass(value) else value)
        yield f"houndsight.{name}({', '.join(p for p in signature.parameters if p != 'self')})"


def _commands() -> Iterator[str]:
    yield from _commands_of(typer.main.get_command(app), "houndsight")


def _commands_of(group: Any, before: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        options = sorted("/".join(p.opts + p.secondary_opts) for p in command.params)
        if hasattr(command, "commands"):
            yield from _commands_of(command, f"{before} {name}")
        else:
            yield f"{before} {name}: {' '.join(options)}"
