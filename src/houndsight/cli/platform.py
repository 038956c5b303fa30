"""What the commands of the platform share: its home, the running control plane, its environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from houndsight.errors import HoundsightError, require_extra

if TYPE_CHECKING:
    from houndsight.aws.environment import Environment
    from houndsight.aws.server import Listening
    from houndsight.jobs.layout import PlatformHome

__all__ = ["EVAL", "home", "running", "running_environment"]

EVAL = {"sh": 'eval "$(houndsight env)"', "fish": "houndsight env --shell fish | source"}


def home() -> PlatformHome:
    """The platform's folder.

    Raises:
        MissingExtraError: the extra `platform` is not installed.
    """
    require_extra("botocore", what="The platform", extra="platform")
    from houndsight.jobs.layout import PlatformHome

    return PlatformHome(PlatformHome.default().root.absolute())


def running(place: PlatformHome) -> Listening:
    """The control plane that runs.

    Raises:
        HoundsightError: none does.
    """
    from houndsight.aws.server import find_running

    found = find_running(place)
    if found is None:
        raise HoundsightError("The platform does not run: houndsight up starts it.")
    return found


def running_environment() -> Environment:
    """The variables that send clients to the control plane that runs.

    Raises:
        HoundsightError: none does.
    """
    from houndsight.aws.environment import client_environment
    from houndsight.aws.keys import KeyRing

    place = home()
    listening = running(place)
    return client_environment(place, listening.address, KeyRing(place.keys).first(), os.environ)
