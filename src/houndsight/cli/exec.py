"""`houndsight exec`: run a command whose AWS clients go to the platform."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from houndsight.cli.platform import running_environment

__all__ = ["exec_command"]

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""What shells end with."""


def exec_command(
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND", help="What you would type otherwise.")
    ],
) -> None:
    """Run a command in the environment of the platform: houndsight exec -- python train.py."""
    environ = running_environment().applied(os.environ)
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, environ)
    except FileNotFoundError as error:
        typer.secho(f"houndsight: there is no command {command[0]!r}.", fg="red", err=True)
        raise typer.Exit(NOT_FOUND) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        typer.secho(f"houndsight: {command[0]!r} cannot be run: {why}.", fg="red", err=True)
        raise typer.Exit(NOT_EXECUTABLE) from error
