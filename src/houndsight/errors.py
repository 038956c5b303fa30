"""The errors a person can cause.

Each is one or a few sentences that name the thing, its value and the way out.
The command line prints the sentence without a traceback; `assert` is for what cannot happen.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "ArtifactError",
    "DataError",
    "HoundsightError",
    "MissingExtraError",
    "NetworkError",
    "RequestError",
    "RunError",
    "RunLockedError",
    "SettingError",
    "WeightsError",
    "require_extra",
]


class HoundsightError(Exception):
    """Something a person can put right. `exit_code` is what the command line ends with."""

    exit_code = 1


class SettingError(HoundsightError, ValueError):
    """A setting has a value it cannot have: the sentence names field, value and range."""

    exit_code = 2


class DataError(HoundsightError):
    """The photos or their labels cannot be used."""


class WeightsError(HoundsightError):
    """Pretrained weights are missing, damaged or not what they are said to be."""


class ArtifactError(HoundsightError):
    """A saved model is missing, damaged, foreign or newer than this version."""


class RunError(HoundsightError):
    """A run folder is missing, damaged, newer than this version or of another configuration."""


class RunLockedError(RunError):
    """Another process writes this run folder."""


class NetworkError(HoundsightError):
    """Something had to come over the network and did not."""


class RequestError(HoundsightError):
    """A request to the endpoint cannot be answered; `status` is the HTTP status code."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class MissingExtraError(HoundsightError):
    """A command needs packages of an extra that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra: pip install 'houndsight[{extra}]'")
        self.extra = extra


def require_extra(module: str, *, what: str, extra: str) -> ModuleType:
    """Import `module`, which belongs to `extra`, and return it.

    Raises:
        MissingExtraError: it is not installed; the sentence holds the exact pip line.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise MissingExtraError(what, extra) from error
