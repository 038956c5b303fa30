"""`houndsight env`: the variables that send AWS's clients to the platform."""

from __future__ import annotations

from typing import Annotated

import typer

from houndsight.cli.platform import running_environment

__all__ = ["env"]


def env(
    shell: Annotated[str, typer.Option(metavar="sh|fish", help="Whose commands to print.")] = "sh",
) -> None:
    """Print commands for a shell: eval "$(houndsight env)" sends AWS's clients to the platform."""
    from houndsight.aws.environment import shell_lines

    typer.echo("\n".join(shell_lines(running_environment(), shell)))
