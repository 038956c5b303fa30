"""`houndsight keys`: who may use the platform."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from houndsight.cli.help import Command, Group
from houndsight.cli.platform import home

__all__ = ["keys"]

keys = typer.Typer(
    name="keys",
    cls=Group,
    help="The access keys that the platform knows: list, add, remove.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What you call the key.")]


@keys.command(name="list", cls=Command)
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the keys, without their secrets."""
    from houndsight.aws.keys import KeyRing

    found = KeyRing(home().keys).list()
    if as_json:
        rows = [{"name": k.name, "access_key": k.access_key, "created": k.created} for k in found]
        typer.echo(json.dumps(rows, indent=1))
        return
    for key in found:
        made = datetime.fromtimestamp(key.created).strftime("%Y-%m-%d %H:%M")
        typer.echo(f"{key.access_key}  {made}  {key.name}")
    if not found:
        typer.echo("There is no key yet: houndsight up makes one, houndsight keys add another.")


@keys.command(name="add", cls=Command)
def add_key(name: NameArgument) -> None:
    """Make a key, and print it with its secret."""
    from houndsight.aws.keys import KeyRing

    key = KeyRing(home().keys).add(name)
    typer.echo(f"AWS_ACCESS_KEY_ID={key.access_key}\nAWS_SECRET_ACCESS_KEY={key.secret}")


@keys.command(name="remove", cls=Command)
def remove_key(name: NameArgument) -> None:
    """Forget a key, by its name or its id: requests signed with it are refused at once."""
    from houndsight.aws.keys import KeyRing
    from houndsight.aws.server import find_running

    place = home()
    ring = KeyRing(place.keys)
    first = ring.list()[:1]
    key = ring.remove(name)
    typer.echo(f"Removed {key.name} ({key.access_key}).")
    if key in first and find_running(place) is not None:
        typer.echo(
            "The platform that runs has it and gives it to its jobs and endpoints, whose requests"
            " are refused now: houndsight down, then houndsight up."
        )
