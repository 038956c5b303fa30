"""Tokens with which a client asks for the next page: where the last one ended, nothing secret."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TypeVar

from houndsight.aws.service import AwsError

__all__ = ["read_token", "token_of"]

T = TypeVar("T")


def token_of(place: object) -> str:
    """A token for a place: strings, numbers, lists of them."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_token(token: str | None, like: T, *, code: str = "InvalidParameterException") -> T:
    """The place of a token; `like` itself when there is no token.

    Args:
        like: a place of the same types.

    Raises:
        AwsError: no token of ours.
    """
    if token is None:
        return like
    try:
        place = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    if not _alike(place, like):
        raise AwsError(code, "The specified nextToken is invalid.")
    same: T = place
    return same


def _alike(place: object, like: object) -> bool:
    if type(place) is not type(like):
        return False
    if isinstance(like, list) and isinstance(place, list):
        return len(place) == len(like) and all(map(_alike, place, like))
    return True
