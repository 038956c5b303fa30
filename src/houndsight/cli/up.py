"""`houndsight up`: start the platform that speaks AWS's APIs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from houndsight.cli.platform import EVAL, home
from houndsight.errors import HoundsightError

if TYPE_CHECKING:
    from houndsight.aws.server import Listening, Options

__all__ = ["up"]


def up(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; others reach 0.0.0.0.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Default: the one of last time."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that requests may call this machine by."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Answer requests that nobody signed, too.")
    ] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay here until Ctrl-C.")
    ] = False,
) -> None:
    """Start the platform: SageMaker's API, S3 and what belongs to them, on this machine."""
    place = home()
    from houndsight.aws.server import Options, find_running, serve, start

    options = Options(host=host, port=port, allow_hosts=tuple(allow_host or ()), insecure=insecure)
    options.check()
    if foreground:
        serve(place, options, ready=_tell)
        sys.stdout.flush()
        # Threads may still hold answers open; nothing is lost, for nothing is kept in memory.
        os._exit(0)
    before = find_running(place)
    if before is not None:
        if not _is_as_asked(before, options):
            raise HoundsightError(
                f"The platform runs already at {before.address}, and otherwise than asked for:"
                " houndsight down ends it."
            )
        typer.echo("The platform runs already.")
    _tell(before or start(place, options))


def _is_as_asked(running: Listening, options: Options) -> bool:
    """Whether starting it again would change nothing."""
    return (
        options.port in (None, 0, running.port)
        and (options.host, options.insecure) == (running.host, running.insecure)
        and set(options.allow_hosts) <= set(running.allow_hosts)
    )


def _tell(listening: Listening) -> None:
    typer.echo(f"Houndsight answers AWS's clients at {listening.address}")
    shell = "fish" if os.environ.get("SHELL", "").endswith("/fish") else "sh"
    typer.echo(f"In a shell that shall use it:  {EVAL[shell]}")
    if listening.insecure:
        typer.echo("Signatures are not checked: every program on this machine may start jobs.")
