"""`houndsight down`: end the platform."""

from __future__ import annotations

import typer

from houndsight.cli.platform import home

__all__ = ["down"]


def down() -> None:
    """End the platform. Jobs that run go on, and are found again by the next houndsight up."""
    place = home()
    from houndsight.aws.server import stop

    ended = stop(place)
    typer.echo("The platform does not run." if ended is None else f"Ended {ended.address}.")
