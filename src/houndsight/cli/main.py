"""The `houndsight` command: its subcommands, and errors as sentences."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from houndsight._version import __version__
from houndsight.cli.cache import cache
from houndsight.cli.check import check
from houndsight.cli.compare import compare
from houndsight.cli.config import config
from houndsight.cli.doctor import doctor
from houndsight.cli.down import down
from houndsight.cli.endpoints import endpoints
from houndsight.cli.env import env
from houndsight.cli.exec import exec_command
from houndsight.cli.findings import findings
from houndsight.cli.help import Command, Group
from houndsight.cli.jobs import jobs
from houndsight.cli.keys import keys
from houndsight.cli.logs import logs
from houndsight.cli.notebook import notebook
from houndsight.cli.predict import predict
from houndsight.cli.report import report
from houndsight.cli.run import run
from houndsight.cli.serve import serve
from houndsight.cli.stop import stop
from houndsight.cli.up import up
from houndsight.cli.watch import watch
from houndsight.errors import HoundsightError

__all__ = ["app", "main"]

INTERRUPTED = 130
"""What a shell reports of a command that Ctrl-C ended: 128 and the number of SIGINT."""
STORAGE_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
}
"""What keeps a file from being written, and a person can put right."""

app = typer.Typer(
    name="houndsight",
    cls=Group,
    help="Train an image classifier from folders of photos, and learn why it is good or bad.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, check, predict, serve, compare, report, findings, doctor, config, cache):
    app.command(cls=Command)(command)
# What follows the script's name is the script's.
app.command(cls=Command, context_settings={"allow_interspersed_args": False})(watch)
app.command("exec", cls=Command, context_settings={"allow_interspersed_args": False})(exec_command)
for command in (up, down, env, notebook, jobs, logs, stop, endpoints):
    app.command(cls=Command)(command)
app.add_typer(keys)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"houndsight {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; a `HoundsightError` ends it with its sentence, without a traceback."""
    try:
        app()
    except HoundsightError as error:
        typer.secho(f"houndsight: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    except SystemExit as end:
        # typer turns Ctrl-C into this exit and says nothing.
        if end.code == INTERRUPTED:
            typer.secho("houndsight: interrupted; finished work is kept.", fg="yellow", err=True)
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        place = error.filename or "a file"
        text = f"houndsight: {place} cannot be written or read: {error.strerror}."
        typer.secho(text, fg="red", err=True)
        sys.exit(1)
